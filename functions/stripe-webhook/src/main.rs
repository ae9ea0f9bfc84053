//! `stripe-webhook`: payments, refunds, disputes and subscriptions, from Stripe.

use std::process::ExitCode;

fn main() -> ExitCode {
    funil_lambda::run(funil_lambda::webhooks::stripe::function)
}
