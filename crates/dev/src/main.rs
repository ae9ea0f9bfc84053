//! `funil`: the dev server and the command line.
//!
//! Owns the arguments and what is printed. What a command does is in the library's `cli` module.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use funil_core::hash::HashKey;
use funil_core::settings::Env;
use funil_core::site::TableConfig;
use funil_dev::cli::addresses::Addresses;
use funil_dev::cli::backfill::BackfillArguments;
use funil_dev::cli::dead::DeadCommand;
use funil_dev::cli::doctor::DoctorArguments;
use funil_dev::cli::package::PackageArguments;
use funil_dev::cli::quarantine::QuarantineCommand;
use funil_dev::cli::score::ScoreArguments;
use funil_dev::cli::setup::SetupArguments;
use funil_dev::cli::stats::Stats;
use funil_dev::cli::{
    backfill, copy, dead, doctor, journey, package, quarantine, score, send, setup,
};
use funil_dev::server::{DEV_HASH_KEY, DevServer, DevServerOptions};
use funil_dev::whose::Whose;
use funil_dev::{function_list, openapi};
use funil_store::{AwsConfig, CopyRun, Store, Stream};
use url::Url;

type Failure = Box<dyn std::error::Error>;

/// The backend of a lead funnel, on your machine. Without a command it starts the dev server.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    server: DevArguments,
}

#[derive(Subcommand)]
enum Command {
    /// Start the dev server (the default).
    Dev(DevArguments),
    /// Send sample requests and print each response and the lead's journey.
    Send {
        /// Samples, as `events/<function>/<sample>.json`.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The base address of the functions.
        #[arg(long, default_value = "http://127.0.0.1:8888/api")]
        to: Url,
    },
    /// Print a lead's journey, from the table that the environment names or from that of the dev
    /// server.
    Journey {
        /// The lead's UUID, or an e-mail; of several leads of one, the newest is shown.
        lead: String,
        /// The dev server whose table is read if the environment has no credentials.
        #[arg(long, default_value = "http://127.0.0.1:8888")]
        server: Url,
    },
    /// Explain a score for given answers, and check its rules.
    Score(ScoreArguments),
    /// Sum the metrics in the lines of a log: accepted, duplicates, settled, durations.
    Stats {
        /// The log file, or `-` for standard input.
        log: PathBuf,
    },
    /// Manage dead deliveries: list, show, replay, settle.
    Dead {
        /// The dev server whose table is used if the environment has no credentials.
        #[arg(long, global = true, default_value = "http://127.0.0.1:8888")]
        server: Url,
        #[command(subcommand)]
        command: DeadCommand,
    },
    /// Manage requests in quarantine: list, show, release, drop.
    Quarantine {
        /// The base address of the functions.
        #[arg(long, global = true, default_value = "http://127.0.0.1:8888/api")]
        to: Url,
        /// The outputs of the stack, as `aws cloudformation describe-stacks --stack-name funil` prints
        /// them (`-` reads standard input): for functions that have only Function URLs.
        #[arg(long, global = true)]
        stack_outputs: Option<PathBuf>,
        #[command(subcommand)]
        command: QuarantineCommand,
    },
    /// Check a deployment: variables, table, each provider's account, clocks. Changes nothing.
    Doctor(DoctorArguments),
    /// Make in a provider's account what Funil needs there. Without --yes it is a dry run.
    Setup(SetupArguments),
    /// Print the OpenAPI document of all endpoints, with the samples of events/ as examples.
    Openapi,
    /// Print the list of all functions, docs/functions.md: what each does, and which variables it reads.
    Functions,
    /// Plan deliveries for events that were accepted while a destination was off. Without --yes it
    /// is a dry run.
    Backfill {
        /// The dev server whose table is used if the environment has no credentials.
        #[arg(long, default_value = "http://127.0.0.1:8888")]
        server: Url,
        #[command(flatten)]
        arguments: BackfillArguments,
    },
    /// Build every function for Lambda, each as a zip file with its `bootstrap`, and print what is over
    /// budget.
    Package(PackageArguments),
    /// Manage the table.
    Table {
        #[command(subcommand)]
        command: TableCommand,
    },
    /// Run the binary of one function with one event, configured by the environment.
    Invoke {
        /// The name of the function.
        function: String,
        /// The file with the event, as JSON.
        event: PathBuf,
    },
}

#[derive(Subcommand)]
enum TableCommand {
    /// Create the table with its indexes and its identity.
    Create {
        /// The endpoint of DynamoDB, if it is not that of AWS.
        #[arg(long)]
        endpoint: Option<Url>,
    },
    /// Copy into the environment's table what a restored one has and it lacks. Without --yes it is a dry
    /// run.
    Copy {
        /// The name of the restored table.
        #[arg(long)]
        from: String,
        /// Copy. Without this it is only counted.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args, Clone)]
struct DevArguments {
    /// The port on which the dev server listens.
    #[arg(long, default_value_t = 8888)]
    port: u16,
    /// The folder for the table and for what the simulated providers received.
    #[arg(long, default_value = ".funil")]
    data: PathBuf,
    /// The base address of functions that run elsewhere, such as
    /// <http://127.0.0.1:9000/lambda-url>.
    #[arg(long)]
    functions_at: Option<Url>,
    /// The address that alerts are sent to, in the format of Slack's incoming webhooks. Without it
    /// alerts are log lines.
    #[arg(long)]
    alerts_to: Option<Url>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let env = funil_lambda::process_environment();
    funil_lambda::start_telemetry(&env);
    let cli = Cli::parse();
    let done = match cli.command {
        None => dev(cli.server, &env).await,
        Some(Command::Dev(arguments)) => dev(arguments, &env).await,
        Some(Command::Send { files, to }) => send_all(&files, &to, &env).await,
        Some(Command::Journey { lead, server }) => print_journey(&lead, &server, &env).await,
        Some(Command::Score(arguments)) => score::run(&arguments, &env).map(|text| {
            print(&mut std::io::stdout(), &text);
            ExitCode::SUCCESS
        }),
        Some(Command::Stats { log }) => stats(&log),
        Some(Command::Dead { server, command }) => dead_deliveries(command, &server, &env).await,
        Some(Command::Quarantine { to, stack_outputs, command }) => {
            let platform = funil_lambda::platform();
            let mut out = std::io::stdout();
            let to = match &stack_outputs {
                Some(file) => Addresses::of_stack(file),
                None => Ok(Addresses::Below(to)),
            };
            let done = match to {
                Ok(to) => quarantine::run(command, &to, &env, &platform, &mut out).await,
                Err(error) => Err(error),
            };
            done.map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Doctor(arguments)) => {
            let platform = funil_lambda::platform();
            let mut out = std::io::stdout();
            let done = doctor::run(&arguments, &env, &platform, &mut out).await;
            done.map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Setup(arguments)) => {
            let platform = funil_lambda::platform();
            let mut out = std::io::stdout();
            setup::run(&arguments, &env, &platform, &mut out).await.map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Functions) => {
            print(&mut std::io::stdout(), &function_list::text(&funil_lambda::platform()));
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Openapi) => match openapi::text(Path::new("events")) {
            Ok(document) => {
                print(&mut std::io::stdout(), &document);
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => Err(error.into()),
        },
        Some(Command::Backfill { server, arguments }) => {
            plan_missing(&arguments, &server, &env).await
        }
        Some(Command::Package(arguments)) => match package::package(&arguments).await {
            Ok(table) => {
                print(&mut std::io::stdout(), &table);
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => Err(error.into()),
        },
        Some(Command::Table { command: TableCommand::Create { endpoint } }) => {
            create_table(endpoint, &env).await
        }
        Some(Command::Table { command: TableCommand::Copy { from, yes } }) => {
            copy_table(&from, yes, &env).await
        }
        Some(Command::Invoke { function, event }) => invoke(&function, &event, &env).await,
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            print(&mut std::io::stderr(), &format!("{error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Prints to the terminal. Errors are ignored, because the reader may close a pipe early.
fn print(out: &mut impl std::io::Write, text: &str) {
    drop(out.write_all(text.as_bytes()));
    drop(out.flush());
}

async fn dev(arguments: DevArguments, env: &Env) -> Result<ExitCode, Failure> {
    let options = DevServerOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port)),
        data: arguments.data.clone(),
        functions_at: arguments.functions_at,
        alerts_to: arguments.alerts_to,
    };
    let server = DevServer::start(&options, env).await?;
    let address = server.address();
    let data = arguments.data.display();
    print(
        &mut std::io::stdout(),
        &format!(
            "\nFunil's dev server\n\n  \
             http://{address}/        the landing page: submit its form\n  \
             http://{address}/stage   the console: journeys and simulated providers\n\n\
             The table and what the providers received are kept in {data}.\n\
             Variables for `cargo lambda watch` are in {data}/dev.env. Ctrl-C ends it.\n\n"
        ),
    );
    tokio::signal::ctrl_c().await?;
    tokio::time::timeout(Duration::from_secs(10), server.stop()).await??;
    Ok(ExitCode::SUCCESS)
}

async fn send_all(files: &[PathBuf], to: &Url, env: &Env) -> Result<ExitCode, Failure> {
    let platform = funil_lambda::platform();
    let mut code = ExitCode::SUCCESS;
    for path in files {
        let sent = match send::send(path, to, env, &platform).await {
            Ok(sent) => sent,
            Err(error) => {
                print(&mut std::io::stderr(), &format!("{error}\n"));
                code = ExitCode::FAILURE;
                continue;
            }
        };
        let shown =
            format!("{} -> {} {}\n{}\n", path.display(), sent.function, sent.status, sent.body);
        print(&mut std::io::stdout(), &shown);
        if let Some(whose) = sent.whose {
            let server = to.join("/")?;
            if let Err(error) = show_journey(&whose, &server, env, Duration::from_secs(5)).await {
                print(&mut std::io::stderr(), &format!("{error}\n"));
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

async fn print_journey(lead: &str, server: &Url, env: &Env) -> Result<ExitCode, Failure> {
    let whose = Whose::parse(lead).ok_or("Give the lead's UUID, or an e-mail.")?;
    show_journey(&whose, server, env, Duration::ZERO).await
}

/// Prints a journey; fails if there is no such lead. It first waits up to `patience` until no delivery is
/// open.
async fn show_journey(
    whose: &Whose,
    server: &Url,
    env: &Env,
    patience: Duration,
) -> Result<ExitCode, Failure> {
    let store = store(server, env)?;
    let lead_id = match whose {
        Whose::Lead(lead) => *lead,
        Whose::Email(_) => {
            let leads = whose.leads(&store, &hash_key(env)?).await?;
            if let [_, _, ..] = leads.as_slice() {
                let says = "These leads have the e-mail. The journey is that of the first.\n";
                print(&mut std::io::stdout(), says);
                for lead in &leads {
                    print(&mut std::io::stdout(), &format!("  {lead}\n"));
                }
            }
            let Some(lead) = leads.first() else {
                print(&mut std::io::stdout(), "The table has no lead with this e-mail.\n");
                return Ok(ExitCode::FAILURE);
            };
            *lead
        }
    };
    let mut tries = patience.as_millis() / 250;
    loop {
        let found = store.journey(lead_id).await?;
        let open = found
            .as_ref()
            .is_some_and(|found| found.deliveries.iter().any(|one| one.state.is_open()));
        if open && tries > 0 {
            tries -= 1;
            tokio::time::sleep(Duration::from_millis(250)).await;
            continue;
        }
        let Some(found) = found else {
            print(&mut std::io::stdout(), "The table has no such lead.\n");
            return Ok(ExitCode::FAILURE);
        };
        print(&mut std::io::stdout(), &journey::to_text(&found));
        return Ok(ExitCode::SUCCESS);
    }
}

fn stats(log: &Path) -> Result<ExitCode, Failure> {
    let stats = if log == Path::new("-") {
        Stats::read(std::io::stdin().lock())?
    } else {
        let file = std::fs::File::open(log)
            .map_err(|error| format!("{} cannot be read: {error}", log.display()))?;
        Stats::read(std::io::BufReader::new(file))?
    };
    print(&mut std::io::stdout(), &stats.to_text());
    Ok(ExitCode::SUCCESS)
}

async fn dead_deliveries(
    command: DeadCommand,
    server: &Url,
    env: &Env,
) -> Result<ExitCode, Failure> {
    let (store, platform) = (store(server, env)?, funil_lambda::platform());
    dead::run(command, &store, &platform, &mut std::io::stdout()).await?;
    Ok(ExitCode::SUCCESS)
}

async fn plan_missing(
    arguments: &BackfillArguments,
    server: &Url,
    env: &Env,
) -> Result<ExitCode, Failure> {
    let (store, platform) = (store(server, env)?, funil_lambda::platform());
    // The key is needed to find revocations that are stored at an alias. The dev server has a fixed
    // one.
    let hash_key = env.get("HASH_KEY").unwrap_or(if is_local(env) { DEV_HASH_KEY } else { "" });
    let hash_key = HashKey::new(hash_key).ok_or("Set HASH_KEY to the key of the table.")?;
    backfill::run(arguments, &hash_key, &store, &platform, &mut std::io::stdout()).await?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the environment has no AWS credentials. The table of the dev server is used then.
fn is_local(env: &Env) -> bool {
    env.get("AWS_ACCESS_KEY_ID").is_none() && env.get("FUNIL_AWS_ACCESS_KEY_ID").is_none()
}

/// The table that the environment names, or that of the dev server at `server` if the environment
/// has no credentials.
fn store(server: &Url, env: &Env) -> Result<Store, Failure> {
    let env: Env = if is_local(env) {
        [
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("AWS_REGION", "sa-east-1"),
            (
                "AWS_ENDPOINT_URL_DYNAMODB",
                env.get("AWS_ENDPOINT_URL_DYNAMODB").unwrap_or(server.as_str()),
            ),
        ]
        .into_iter()
        .chain(env.get("TABLE_NAME").map(|name| ("TABLE_NAME", name)))
        .collect()
    } else {
        env.clone()
    };
    let mut settings = env.settings();
    let aws = AwsConfig::read(&mut settings);
    let aws = settings.finish(aws)?;
    let table = env.get("TABLE_NAME").unwrap_or("funil");
    Ok(Store::connect(&aws, table, &funil_lambda::platform()))
}

/// The key under which the table's aliases are: that of the environment, else the dev server's.
fn hash_key(env: &Env) -> Result<HashKey, Failure> {
    let local = is_local(env).then_some(DEV_HASH_KEY);
    let key = env.get("HASH_KEY").or(local).ok_or("Set HASH_KEY to find leads by e-mail.")?;
    Ok(HashKey::new(key).ok_or("HASH_KEY is too short.")?)
}

async fn create_table(endpoint: Option<Url>, env: &Env) -> Result<ExitCode, Failure> {
    let mut settings = env.settings();
    let site = TableConfig::read(&mut settings);
    let aws = AwsConfig::read(&mut settings);
    let (site, mut aws) = settings.finish(site.zip(aws))?;
    if let Some(endpoint) = endpoint {
        aws.dynamodb = endpoint;
    }
    let store = Store::connect(&aws, &site.name, &funil_lambda::platform());
    store.create_table(&site.hash_key, Stream::On).await?;
    print(&mut std::io::stdout(), &format!("The table {} exists.\n", site.name));
    Ok(ExitCode::SUCCESS)
}

async fn copy_table(from: &str, yes: bool, env: &Env) -> Result<ExitCode, Failure> {
    let mut settings = env.settings();
    let (site, aws) = (TableConfig::read(&mut settings), AwsConfig::read(&mut settings));
    let (site, aws) = settings.finish(site.zip(aws))?;
    let platform = funil_lambda::platform();
    let source = Store::connect(&aws, from, &platform);
    let into = Store::connect(&aws, &site.name, &platform);
    let run = if yes { CopyRun::ForReal } else { CopyRun::Dry };
    copy::run(&source, &into, &site.hash_key, run, &platform, &mut std::io::stdout()).await?;
    Ok(ExitCode::SUCCESS)
}

async fn invoke(function: &str, event: &Path, env: &Env) -> Result<ExitCode, Failure> {
    let event = serde_json::from_slice(&std::fs::read(event)?)?;
    let response = funil_dev::cli::invoke(function, event, env.variables()).await?;
    print(&mut std::io::stdout(), &format!("{response:#}\n"));
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_and_backfill_take_the_address_of_the_dev_server_after_their_command() {
        let elsewhere = "http://127.0.0.1:9911";
        for words in ["dead list", "dead replay --yes", "backfill --destination crm"] {
            let words = ["funil"].into_iter().chain(words.split(' '));
            let words = words.chain(["--server", elsewhere]);
            let Some(Command::Dead { server, .. } | Command::Backfill { server, .. }) =
                Cli::try_parse_from(words).unwrap().command
            else {
                panic!("another command")
            };
            assert_eq!(server.as_str(), format!("{elsewhere}/"));
        }
    }
}
