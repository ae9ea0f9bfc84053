//! Money: whole minor units of a currency, never a float.
//!
//! Knows how many decimals a currency has (ISO 4217), and no payment provider: what a provider sends in units
//! of its own is converted where it is parsed.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// A currency by its three letters, as `BRL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// The currencies without minor units.
const WITHOUT: [&str; 17] = [
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND",
    "VUV", "XAF", "XOF", "XPF",
];
/// The currencies with a thousand minor units.
const THOUSAND: [&str; 7] = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];

impl Currency {
    /// The Brazilian real.
    pub const BRL: Self = Self(*b"BRL");

    /// Reads three letters in any case. Which of them are a currency nobody can list for ever, so any
    /// three letters are.
    pub fn parse(text: &str) -> Option<Self> {
        let letters: [u8; 3] = text.trim().as_bytes().try_into().ok()?;
        letters
            .iter()
            .all(u8::is_ascii_alphabetic)
            .then(|| Self(letters.map(|b| b.to_ascii_uppercase())))
    }

    /// Its three letters in capitals.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// How many decimals its amounts have.
    pub fn decimals(self) -> u32 {
        let name = self.as_str();
        if WITHOUT.contains(&name) {
            0
        } else if THOUSAND.contains(&name) {
            3
        } else {
            2
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("a currency has three letters"))
    }
}

/// An amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// In minor units: 19,700 of BRL are R$ 197.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// The amount in major units, with a dot and all decimals of its currency: `197.00`, `5000`, `1.250`.
    pub fn decimal(&self) -> String {
        let decimals = self.currency.decimals();
        let sign = if self.minor < 0 { "-" } else { "" };
        let unit = 10_u64.pow(decimals);
        let minor = self.minor.unsigned_abs();
        let width = usize::try_from(decimals).unwrap_or_default();
        match decimals {
            0 => format!("{sign}{minor}"),
            _ => format!("{sign}{}.{:0width$}", minor / unit, minor % unit),
        }
    }
}

impl Money {
    /// Reads an amount in major units as a program writes it: digits, at most one dot, and no more decimals than the
    /// currency has, but for zeros.
    pub fn parse(text: &str, currency: Currency) -> Option<Self> {
        let text = text.trim();
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let (units, parts) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if units.is_empty() || !is_number(units) || !is_number(parts) {
            return None;
        }
        let decimals = usize::try_from(currency.decimals()).ok()?;
        let (kept, beyond) = parts.split_at(parts.len().min(decimals));
        if beyond.bytes().any(|byte| byte != b'0') {
            return None;
        }
        let minor: i64 = format!("{units}{kept:0<decimals$}").parse().ok()?;
        Some(Self { minor: sign * minor, currency })
    }

    /// Whole units of a currency, which a person wrote.
    pub fn whole(units: u32, currency: Currency) -> Self {
        Self { minor: i64::from(units) * 10_i64.pow(currency.decimals()), currency }
    }

    /// The amount in major units as a JSON number, for a provider that takes no text. The number is written
    /// with the decimals of [`decimal`](Self::decimal), as long as it has at most 15 digits: this is the
    /// last step before the wire, and nothing is computed with it.
    pub fn number(&self) -> Value {
        match self.currency.decimals() {
            0 => Value::from(self.minor),
            _ => self.decimal().parse::<f64>().map_or(Value::Null, Value::from),
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(minor: i64, currency: &str) -> Money {
        Money { minor, currency: Currency::parse(currency).unwrap() }
    }

    #[test]
    fn an_amount_has_the_decimals_of_its_currency() {
        for (minor, currency, expected) in [
            (19_700, "brl", "197.00 BRL"),
            (5, "BRL", "0.05 BRL"),
            (-1_050, "usd", "-10.50 USD"),
            (5_000, "jpy", "5000 JPY"),
            (1_250, "kwd", "1.250 KWD"),
            (0, "eur", "0.00 EUR"),
            (i64::MIN, "clp", "-9223372036854775808 CLP"),
        ] {
            assert_eq!(money(minor, currency).to_string(), expected);
        }
    }

    #[test]
    fn an_amount_is_a_number_with_the_same_decimals() {
        for (minor, currency, expected) in [
            (19_700, "brl", "197.0"),
            (19_705, "brl", "197.05"),
            (1, "usd", "0.01"),
            (99_999_999_999_999, "usd", "999999999999.99"),
            (5_000, "jpy", "5000"),
            (1_257, "kwd", "1.257"),
        ] {
            assert_eq!(money(minor, currency).number().to_string(), expected);
        }
        assert_eq!(Money::whole(1_000, Currency::BRL).to_string(), "1000.00 BRL");
    }

    #[test]
    fn an_amount_is_read_as_a_program_writes_it() {
        for (text, currency, expected) in [
            ("12500000.00", "BRL", Some(1_250_000_000)),
            ("197", "BRL", Some(19_700)),
            ("197.5", "BRL", Some(19_750)),
            ("0.1", "BRL", Some(10)),
            ("-3.07", "BRL", Some(-307)),
            ("1.2500", "KWD", Some(1_250)),
            ("5000.000", "JPY", Some(5_000)),
            ("90071992547409.93", "BRL", Some(9_007_199_254_740_993)),
            ("1.005", "BRL", None),
            ("1e3", "BRL", None),
            ("1.250,00", "BRL", None),
            ("1,250.00", "BRL", None),
            ("R$ 5", "BRL", None),
            (".5", "BRL", None),
            ("", "BRL", None),
            ("99999999999999999999", "BRL", None),
        ] {
            let read = Money::parse(text, Currency::parse(currency).unwrap());
            assert_eq!(read.map(|money| money.minor), expected, "{text}");
        }
    }

    #[test]
    fn a_currency_has_three_letters() {
        for text in ["", "BR", "BRLX", "B1L", "çãé", "R$ "] {
            assert_eq!(Currency::parse(text), None, "{text}");
        }
        let stored = serde_json::to_string(&money(1, "brl")).unwrap();
        assert_eq!(stored, r#"{"minor":1,"currency":"BRL"}"#);
        assert_eq!(serde_json::from_str::<Money>(&stored).unwrap(), money(1, "BRL"));
    }
}
