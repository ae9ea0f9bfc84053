//! CPFs: the number under which the Brazilian tax office knows a person, parsed once.
//!
//! Owns the check digits, and how one is found in a text of a person. Must not know who may have one.

use super::InvalidContact;
use crate::pii::Pii;

/// How many digits a CPF has.
const DIGITS: usize = 11;

/// A CPF, as its eleven digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cpf(pub(super) Pii<String>);

impl Cpf {
    /// Parses eleven digits, with or without the usual dots and dash, whose check digits are right.
    /// Eleven equal digits are nobody's (`docs/providers.md`, "CPF").
    pub fn parse(text: &str) -> Result<Self, InvalidContact> {
        let text = text.trim();
        if !text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '/' | ' ')) {
            return Err(InvalidContact);
        }
        let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
        if digits.len() != DIGITS || digits.iter().all(|digit| Some(digit) == digits.first()) {
            return Err(InvalidContact);
        }
        let is_right = |of: usize| check_digit(&digits[..of]) == digits[of];
        if !is_right(9) || !is_right(10) {
            return Err(InvalidContact);
        }
        Ok(Self(Pii::new(digits.iter().filter_map(|digit| char::from_digit(*digit, 10)).collect())))
    }

    /// The only CPF in a text of a person: written with its dots and dash, or after the word CPF. `None` if
    /// there is none, or if there are several.
    pub fn find(text: &str) -> Option<Self> {
        let mut found: Vec<Self> = Vec::new();
        let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-');
        let mut rest = text;
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let (before, number) = rest.split_at(start);
            let end = number.find(|c| !is_part(c)).unwrap_or(number.len());
            let (number, after) = number.split_at(end);
            let named = || {
                let word = before.trim_end_matches(|c: char| !c.is_alphanumeric());
                let word = word.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                word.eq_ignore_ascii_case("cpf")
            };
            let number = number.trim_end_matches(['.', '-']);
            if (is_formatted(number) || named())
                && let Ok(cpf) = Self::parse(number)
                && !found.contains(&cpf)
            {
                found.push(cpf);
            }
            rest = after;
        }
        found.pop().filter(|_| found.is_empty())
    }

    /// The eleven digits. The caller is responsible for not logging them.
    pub fn as_str(&self) -> &str {
        self.0.expose()
    }

    /// As it is written: `529.982.247-25`.
    pub fn formatted(&self) -> String {
        let mut text = String::new();
        for (place, digit) in self.as_str().chars().enumerate() {
            match place {
                3 | 6 => text.push('.'),
                9 => text.push('-'),
                _ => {}
            }
            text.push(digit);
        }
        text
    }
}

/// Whether a text has the form `529.982.247-25`.
fn is_formatted(text: &str) -> bool {
    text.len() == 14
        && text.chars().enumerate().all(|(place, c)| match place {
            3 | 7 => c == '.',
            11 => c == '-',
            _ => c.is_ascii_digit(),
        })
}

/// The check digit of these digits: weights from their number and one down to 2, modulo 11.
fn check_digit(digits: &[u32]) -> u32 {
    let weights = (2..).take(digits.len()).collect::<Vec<u32>>();
    let sum: u32 =
        digits.iter().zip(weights.iter().rev()).map(|(digit, weight)| digit * weight).sum();
    match sum % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The vectors of `docs/providers.md` ("CPF").
    #[test]
    fn the_check_digits_decide() {
        for valid in [
            "529.982.247-25",
            "111.444.777-35",
            "123.456.789-09",
            "012.345.678-90",
            "935.411.347-80",
        ] {
            let cpf = Cpf::parse(valid).unwrap();
            assert_eq!(cpf.formatted(), valid);
            assert_eq!(Cpf::parse(cpf.as_str()), Ok(cpf));
        }
        for invalid in [
            "529.982.247-24",
            "123.456.789-10",
            "000.000.000-00",
            "111.111.111-11",
            "5299822472",
            "529982247250",
            "52998224725x",
            "",
        ] {
            assert!(Cpf::parse(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn one_is_found_in_a_text_where_it_says_that_it_is_one() {
        for (text, expected) in [
            ("Meu CPF: 52998224725, obrigado", Some("52998224725")),
            ("cpf 529.982.247-25.", Some("52998224725")),
            ("529.982.247-25 e 11 98765-4321", Some("52998224725")),
            ("529.982.247-25, CPF 52998224725", Some("52998224725")),
            ("529.982.247-25 e 111.444.777-35", None),
            ("ligue 52998224725", None),
            ("529.982.247-24", None),
            ("", None),
        ] {
            assert_eq!(Cpf::find(text).as_ref().map(Cpf::as_str), expected, "{text}");
        }
    }

    #[test]
    fn it_prints_nothing() {
        assert_eq!(format!("{:?}", Cpf::parse("52998224725").unwrap()), "Cpf([pii])");
    }

    proptest! {
        #[test]
        fn of_nine_digits_one_pair_of_check_digits_is_right(nine in "[0-9]{9}") {
            prop_assume!(!nine.bytes().all(|byte| Some(byte) == nine.bytes().next()));
            let right = (0..100).filter(|pair| Cpf::parse(&format!("{nine}{pair:02}")).is_ok());
            prop_assert_eq!(right.count(), 1);
        }

        #[test]
        fn any_text_is_read(text in "\\PC*") {
            let found = Cpf::find(&text);
            prop_assert!(found.is_none() || text.chars().filter(char::is_ascii_digit).count() >= DIGITS);
            prop_assert!(Cpf::parse(&text).is_err() || text.len() >= DIGITS);
        }
    }
}
