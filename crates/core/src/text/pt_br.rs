//! Dates and times in Brazilian Portuguese, as people write them in messages.
//!
//! It must not choose a time zone: the caller passes a time that is already in the reader's zone.

use jiff::Zoned;
use jiff::civil::Weekday;

/// A day and a time, such as `terça-feira, 25 de novembro às 15h`. The first day of a month is
/// `1º`.
pub fn day_and_time(moment: &Zoned) -> String {
    let day = match moment.day() {
        1 => "1º".to_owned(),
        day => day.to_string(),
    };
    let (weekday, month) = (weekday(moment.weekday()), month(moment.month()));
    format!("{weekday}, {day} de {month} {} {}", at(moment), time(moment))
}

/// A time of day, such as `15h`, `15h30` or `0h05`.
pub fn time(moment: &Zoned) -> String {
    match moment.minute() {
        0 => format!("{}h", moment.hour()),
        minute => format!("{}h{minute:02}", moment.hour()),
    }
}

/// The preposition before a time. It is singular before one o'clock.
fn at(moment: &Zoned) -> &'static str {
    if moment.hour() == 1 { "à" } else { "às" }
}

const fn weekday(weekday: Weekday) -> &'static str {
    match weekday {
        Weekday::Monday => "segunda-feira",
        Weekday::Tuesday => "terça-feira",
        Weekday::Wednesday => "quarta-feira",
        Weekday::Thursday => "quinta-feira",
        Weekday::Friday => "sexta-feira",
        Weekday::Saturday => "sábado",
        Weekday::Sunday => "domingo",
    }
}

/// The name of a month, from 1 to 12 as `jiff` counts them.
const fn month(month: i8) -> &'static str {
    match month {
        1 => "janeiro",
        2 => "fevereiro",
        3 => "março",
        4 => "abril",
        5 => "maio",
        6 => "junho",
        7 => "julho",
        8 => "agosto",
        9 => "setembro",
        10 => "outubro",
        11 => "novembro",
        _ => "dezembro",
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn written(at: &str, zone: &str) -> String {
        day_and_time(&at.parse::<Timestamp>().unwrap().in_tz(zone).unwrap())
    }

    #[test]
    fn a_time_is_written_in_its_own_time_zone() {
        let sao_paulo = "America/Sao_Paulo";
        for (at, zone, expected) in [
            ("2025-11-25T18:00:00Z", sao_paulo, "terça-feira, 25 de novembro às 15h"),
            ("2025-11-25T18:30:00Z", sao_paulo, "terça-feira, 25 de novembro às 15h30"),
            ("2026-03-01T16:05:00Z", sao_paulo, "domingo, 1º de março às 13h05"),
            ("2026-03-07T04:00:00Z", sao_paulo, "sábado, 7 de março à 1h"),
            // Midnight belongs to the day that starts.
            ("2026-12-31T03:00:00Z", sao_paulo, "quinta-feira, 31 de dezembro às 0h"),
            ("2027-01-01T02:59:00Z", sao_paulo, "quinta-feira, 31 de dezembro às 23h59"),
            ("2025-11-25T18:00:00Z", "America/Manaus", "terça-feira, 25 de novembro às 14h"),
            ("2025-11-25T18:00:00Z", "Asia/Tokyo", "quarta-feira, 26 de novembro às 3h"),
            // Half an hour before and after Lisbon's clocks go forward, and go back.
            ("2026-03-29T00:30:00Z", "Europe/Lisbon", "domingo, 29 de março às 0h30"),
            ("2026-03-29T01:30:00Z", "Europe/Lisbon", "domingo, 29 de março às 2h30"),
            ("2026-10-25T00:30:00Z", "Europe/Lisbon", "domingo, 25 de outubro à 1h30"),
            ("2026-10-25T01:30:00Z", "Europe/Lisbon", "domingo, 25 de outubro à 1h30"),
            // São Paulo had summer time until 2019.
            ("2019-01-15T18:00:00Z", sao_paulo, "terça-feira, 15 de janeiro às 16h"),
        ] {
            assert_eq!(written(at, zone), expected, "{at} {zone}");
        }
    }

    #[test]
    fn every_month_has_its_name() {
        let names: Vec<_> = (1..=12).map(month).collect();
        assert_eq!(names.len(), 12);
        assert_eq!((names[0], names[2], names[11]), ("janeiro", "março", "dezembro"));
    }
}
