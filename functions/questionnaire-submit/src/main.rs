//! `questionnaire-submit`: the questionnaire of a lead who is known.

use std::process::ExitCode;

fn main() -> ExitCode {
    funil_lambda::run(funil_lambda::forms::questionnaire_submit::function)
}
