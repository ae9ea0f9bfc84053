//! The simulation's scenarios, much smaller: nothing is lost or doubled, and everything is settled in the
//! end. The figures of the full size are in `docs/benchmarks.md`
//! ("Scenarios").

use std::time::Duration;

use funil_tests::simulation::scenario::{Report, Scenario, Size, run};

/// Small enough for a test: seconds instead of minutes.
const SMALL: Size = Size { scale: 0.1, lasts: 0.002 };

fn play(scenario: Scenario) -> Report {
    let pause = |runtime: &mut tokio::runtime::Builder| {
        runtime.start_paused(true);
    };
    let report = run(scenario, SMALL, &pause, &|_| {});
    let shown = report.to_string();
    assert_eq!((report.verdict.lost, report.verdict.doubled), (0, 0), "{shown}");
    assert!(report.accepted > 0, "{shown}");
    assert!(report.verdict.settled.len() >= 4, "{shown}");
    for (name, settled) in &report.verdict.settled {
        // Nobody of them agreed to ads, so Meta gets nothing.
        let without_ads = |(how, count): (&String, &usize)| {
            how == "skipped no_consent_ads" && *count == report.accepted
        };
        let as_it_should = match name.as_str() {
            "meta" => settled.otherwise.iter().all(without_ads),
            _ => settled.otherwise.is_empty(),
        };
        assert!(settled.open == 0 && as_it_should, "{name}: {shown}");
    }
    report
}

#[test]
fn a_campaign_is_accepted_and_delivered() {
    let report = play(Scenario::Campaign);
    assert_eq!(report.accepted, report.people, "{report}");
    assert!(report.acceptance.p99 < Duration::from_secs(1), "{report}");
}

#[test]
fn on_a_new_table_a_campaign_is_refused_in_part_and_what_was_accepted_is_delivered() {
    let report = play(Scenario::CampaignOnNewTable);
    assert!(report.accepted < report.people, "{report}");
    assert!(report.refused_by_table.contains_key("lead-submit"), "{report}");
}

#[test]
fn on_a_raised_table_no_key_refuses_anything() {
    let report = play(Scenario::CampaignOnRaisedTable);
    assert_eq!(report.accepted, report.people, "{report}");
    assert_eq!(report.narrowest, None, "{report}");
}

#[test]
fn a_providers_bad_hour_is_felt_by_nobody_else() {
    let report = play(Scenario::BadHour);
    assert_eq!(report.accepted, report.people, "{report}");
    let longest = |name: &str| report.verdict.settled[name].latency.longest;
    assert!(longest("ga4") < Duration::from_secs(2), "{report}");
    assert!(longest("crm") > longest("ga4"), "the CRM was down: {report}");
}

#[test]
fn on_a_black_friday_mailerlite_goes_on_at_its_rate() {
    let report = play(Scenario::BlackFriday);
    assert_eq!(report.accepted, report.people, "{report}");
    let mailerlite = &report.verdict.settled["mailerlite"];
    let minutes = mailerlite.recovery.as_secs() / 60;
    // A lead takes 3 of the 12 requests that it takes in a minute.
    let least = u64::try_from(report.people * 3 / 12).unwrap();
    assert!((least - 1..least * 2).contains(&minutes), "{minutes} of at least {least}: {report}");
}
