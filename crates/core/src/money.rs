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
    fn a_currency_has_three_letters() {
        for text in ["", "BR", "BRLX", "B1L", "çãé", "R$ "] {
            assert_eq!(Currency::parse(text), None, "{text}");
        }
        let stored = serde_json::to_string(&money(1, "brl")).unwrap();
        assert_eq!(stored, r#"{"minor":1,"currency":"BRL"}"#);
        assert_eq!(serde_json::from_str::<Money>(&stored).unwrap(), money(1, "BRL"));
    }
}
