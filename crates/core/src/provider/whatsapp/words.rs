//! The words with which a person decides about messages, and how a text is recognised as one.
//!
//! Must not know how a message arrives.

use std::collections::BTreeSet;

use crate::event::CallWish;
use crate::text::plain;

/// The texts with which a person opts out, unless the site has others.
const OPT_OUTS: [&str; 8] = [
    "stop",
    "parar",
    "pare",
    "sair",
    "descadastrar",
    "remover",
    "não quero receber",
    "não quero mais receber",
];
/// The texts with which a person takes an opt-out back.
const OPT_INS: [&str; 3] = ["voltar", "start", "iniciar"];
/// The texts with which a person asks for a change of their call.
const CALL_WISHES: [(&str, CallWish); 2] =
    [("cancelar", CallWish::Cancel), ("remarcar", CallWish::Move)];
/// What may stand before and after a text without changing it.
const POLITE: [&[&str]; 3] = [&["por", "favor"], &["favor"], &["quero"]];

/// What a person asks of us with one of our words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// They want no more messages.
    OptOut,
    /// They want messages again, after an opt-out.
    OptIn,
    /// They want to change their call. Messages go on.
    Call(CallWish),
}

/// The words that count. A text is one of them only as a whole: letter case, accents, punctuation and
/// emoji make no other text, nor do a few polite words around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    opt_outs: BTreeSet<String>,
}

impl Default for Words {
    fn default() -> Self {
        Self { opt_outs: OPT_OUTS.into_iter().map(normal).collect() }
    }
}

impl Words {
    /// The words, with these texts for opting out. `None` if one of them has no letter, or takes an
    /// opt-out back.
    pub fn with_opt_outs(texts: &[&str]) -> Option<Self> {
        let opt_outs: BTreeSet<String> = texts.iter().map(|text| normal(text)).collect();
        let is_usable = |text: &String| !text.is_empty() && !OPT_INS.contains(&text.as_str());
        (!opt_outs.is_empty() && opt_outs.iter().all(is_usable)).then_some(Self { opt_outs })
    }

    /// The word that a text consists of.
    pub(super) fn find(&self, text: &str) -> Option<Word> {
        let whole = normal(text);
        let words: Vec<&str> = whole.split(' ').collect();
        let bare = without_polite_words(&words).join(" ");
        if self.opt_outs.contains(&whole) || self.opt_outs.contains(&bare) {
            return Some(Word::OptOut);
        }
        if OPT_INS.contains(&whole.as_str()) {
            return Some(Word::OptIn);
        }
        let wish = CALL_WISHES.into_iter().find(|(text, _)| *text == bare);
        wish.map(|(_, wish)| Word::Call(wish))
    }
}

/// A text in lower case, without accents, punctuation, emoji and repeated spaces.
fn normal(text: &str) -> String {
    // Invisible marks stand within words, where a space would part them.
    let is_mark = |c: char| matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let plain = plain(text);
    let kept = plain.chars().filter(|c| !is_mark(*c));
    let spaced: String = kept.map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn without_polite_words<'w>(words: &'w [&'w str]) -> &'w [&'w str] {
    let mut left = words;
    loop {
        let shorter = POLITE
            .into_iter()
            .find_map(|polite| left.strip_prefix(polite).or_else(|| left.strip_suffix(polite)));
        match shorter {
            Some(shorter) => left = shorter,
            None => return left,
        }
    }
}
