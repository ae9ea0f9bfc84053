//! The link by which a lead books a call: the calendar's page, filled in.
//!
//! Carries the lead's id in `utm_content`, so that the booking comes back with it. Knows no calendar
//! but by these parameters.

use url::Url;

use crate::contact::Email;
use crate::id::LeadId;
use crate::pii::Text;

/// The page for a lead of this e-mail.
pub fn booking_link(page: &Url, lead_id: LeadId, email: &Email) -> Text {
    filled(page, &[("email", email.as_str()), ("utm_content", &lead_id.to_string())])
}

/// The same link with a name filled in.
pub fn with_name(link: &Text, name: &Text) -> Text {
    match Url::parse(link.expose()) {
        Ok(url) => filled(&url, &[("name", name.expose())]),
        Err(_) => link.clone(),
    }
}

/// The page's own parameters stay, but for those that are ours to fill.
fn filled(page: &Url, ours: &[(&str, &str)]) -> Text {
    let own = page.query_pairs().filter(|(name, _)| ours.iter().all(|(our, _)| our != name));
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(own).extend_pairs(ours);
    let mut url = page.clone();
    // A plus is read as itself by some readers of addresses; a real one is `%2B` here already.
    url.set_query(Some(&query.finish().replace('+', "%20")));
    Text::new(url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_parameters_stay_and_ours_are_filled_in() {
        let page =
            "https://calendly.com/ana/call?hide_gdpr_banner=1&utm_content=ad&month=2026-11#x";
        let lead = LeadId::parse("6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11").unwrap();
        let email = Email::parse("ana+1@example.com").unwrap();
        let link = booking_link(&Url::parse(page).unwrap(), lead, &email);
        let expected = "https://calendly.com/ana/call?hide_gdpr_banner=1&month=2026-11\
                        &email=ana%2B1%40example.com\
                        &utm_content=6f1c2f5e-0b0a-4d3e-9a53-0d7a6c1f2b11";
        assert_eq!(link.expose(), &format!("{expected}#x"));
        let named = with_name(&link, &Text::from("Ana & Zé"));
        assert_eq!(named.expose(), &format!("{expected}&name=Ana%20%26%20Z%C3%A9#x"));
    }
}
