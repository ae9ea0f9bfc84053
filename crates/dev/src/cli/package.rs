//! `funil package`: builds every function, for Lambda as a zip file with its `bootstrap`, for Netlify as a
//! binary in the folder of a site's functions.
//!
//! Owns how they are built, what is over budget, and what would not start on Lambda or be left out by
//! Netlify. It must not know what a function does, nor how it is deployed.

mod netlify;
mod unwind;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::cli::progress;
use crate::functions;
use crate::runtime_api::{FunctionProcess, Lines};
use crate::server::DevEnvironment;

/// The most that a zip file is to have, in bytes: 2.3 MB.
const ZIP_BYTES_MAX: u64 = 2_300_000;
/// The most time from a function's start to its first response.
const START_MAX: Duration = Duration::from_millis(4);
/// How often a start is measured.
const STARTS: usize = 11;
/// The profile in which a panic ends the process, so that nothing reads unwind tables.
const NEVER_UNWINDS: &str = "dist";
/// The newest glibc that `provided.al2023` has: 2.34.
const GLIBC_MINOR_MAX: u32 = 34;

/// What is built, how, and where it goes.
#[derive(Args, Clone, Debug)]
pub struct PackageArguments {
    /// Where the functions will run.
    #[arg(long = "for", value_enum, default_value_t = Host::Lambda)]
    host: Host,
    /// The architecture of the functions, as the template's parameter `Architecture`. The default is arm64
    /// on Lambda; Netlify has only `x86_64`.
    #[arg(long, value_enum)]
    architecture: Option<Architecture>,
    /// The profile of Cargo: `dist` to deploy, `release` to try out.
    #[arg(long, default_value = "dist")]
    profile: String,
    /// The tool that builds. `cargo-lambda` builds for any architecture and for the glibc of Lambda;
    /// `cargo` only for this machine's architecture and glibc.
    #[arg(long, value_enum, default_value_t = Builder::CargoLambda)]
    builder: Builder,
    /// The folder for the functions: by default `target/package`, where the template looks for zip files,
    /// or `netlify/functions`.
    #[arg(long)]
    out: Option<PathBuf>,
    /// A file with the variables of the site on Netlify, whose size is checked:
    /// `netlify env:list --plain > variables.env`.
    #[arg(long)]
    env_file: Option<PathBuf>,
}

/// Where functions run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Host {
    /// AWS Lambda, by `template.yaml`.
    Lambda,
    /// Netlify, among a site's functions.
    Netlify,
}

impl PackageArguments {
    fn architecture(&self) -> Result<Architecture, PackageError> {
        match (self.host, self.architecture) {
            (Host::Lambda, None) => Ok(Architecture::Arm64),
            (Host::Lambda, Some(architecture)) => Ok(architecture),
            (Host::Netlify, None | Some(Architecture::X86)) => Ok(Architecture::X86),
            (Host::Netlify, Some(Architecture::Arm64)) => Err(PackageError::NetlifyIsX86),
        }
    }

    fn out(&self) -> PathBuf {
        let default = match self.host {
            Host::Lambda => "target/package",
            Host::Netlify => "netlify/functions",
        };
        self.out.clone().unwrap_or_else(|| default.into())
    }
}

/// An architecture that Lambda has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Architecture {
    /// Graviton, which costs a fifth less.
    Arm64,
    /// Intel and AMD.
    #[value(name = "x86_64")]
    X86,
}

impl Architecture {
    /// As Rust calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64",
            Self::X86 => "x86_64",
        }
    }

    fn is_of_this_machine(self) -> bool {
        std::env::consts::ARCH == self.name()
    }
}

/// What builds the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Builder {
    /// `cargo lambda build`.
    CargoLambda,
    /// `cargo build`.
    Cargo,
}

/// Why there is no package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The machine cannot build for that architecture by itself.
    #[error(
        "this machine is no {wanted}: build with --builder cargo-lambda, or give --architecture"
    )]
    OtherArchitecture {
        /// The architecture that was asked for.
        wanted: &'static str,
    },
    /// Netlify has no such architecture.
    #[error("Netlify runs functions on x86_64 only: leave --architecture out")]
    NetlifyIsX86,
    /// Netlify would leave a function out, and say nothing.
    #[error(
        "Netlify would leave {function} out, because its binary lacks the symbol {}",
        netlify::RUST_SYMBOL
    )]
    NotRecognised {
        /// The function's name.
        function: &'static str,
    },
    /// The site's variables do not fit.
    #[error(
        "the variables have {bytes} bytes, and Netlify gives a site's functions {} in all: shorten them, \
         or run Funil on AWS behind a rewrite",
        netlify::ENVIRONMENT_MAX
    )]
    EnvironmentTooLarge {
        /// How many bytes their names and values have.
        bytes: usize,
    },
    /// The tool could not be started.
    #[error("`{command}` could not be started: install it with `pip install cargo-lambda`")]
    NoBuilder {
        /// The command that could not be run.
        command: String,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The build failed, and said why.
    #[error("`{command}` failed; its output is above")]
    Build {
        /// The command that was run.
        command: String,
    },
    /// A binary needs a newer glibc than Lambda has.
    #[error(
        "{function} needs glibc 2.{minor}, and Lambda has 2.{GLIBC_MINOR_MAX}: build with --builder cargo-lambda"
    )]
    Glibc {
        /// The function's name.
        function: &'static str,
        /// The minor version of the glibc that it needs.
        minor: u32,
    },
    /// What was built is no binary.
    #[error("{} is no binary; delete it, and build again", path.display())]
    NoBinary {
        /// The path of the file.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{} could not be read or written", path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
}

/// One function's package.
#[derive(Debug)]
struct Package {
    function: &'static str,
    binary_bytes: u64,
    /// None where Netlify makes the zip file.
    zip_bytes: Option<u64>,
    /// From its start to its first response; none for another architecture's.
    start: Option<Duration>,
}

/// Builds and packs all functions, and returns a table of them.
pub async fn package(arguments: &PackageArguments) -> Result<String, PackageError> {
    let architecture = arguments.architecture()?;
    let out = arguments.out();
    if let Some(path) = &arguments.env_file {
        let bytes = netlify::environment_bytes(&fs::read_to_string(path).map_err(of_file(path))?);
        if bytes > netlify::ENVIRONMENT_MAX {
            return Err(PackageError::EnvironmentTooLarge { bytes });
        }
    }
    let names: Vec<&'static str> =
        functions::makes(Duration::ZERO).into_iter().map(|(name, _)| name).collect();
    let started = Instant::now();
    let built = build(arguments, architecture, &names)?;
    let build_s = started.elapsed().as_secs();
    fs::create_dir_all(&out).map_err(of_file(&out))?;
    let bar = progress::bar(names.len(), "packing");
    let mut packages = Vec::new();
    let mut is_dynamic = false;
    for name in names {
        let binary = built(name);
        let mut bytes = fs::read(&binary).map_err(of_file(&binary))?;
        if arguments.profile == NEVER_UNWINDS {
            unwind::clear_tables(&mut bytes)
                .ok_or_else(|| PackageError::NoBinary { path: binary.clone() })?;
        }
        match glibc_minor(&bytes) {
            Some(minor) if minor > GLIBC_MINOR_MAX && arguments.host == Host::Lambda => {
                return Err(PackageError::Glibc { function: name, minor });
            }
            Some(_) | None => {}
        }
        let zip_bytes = match arguments.host {
            Host::Lambda => {
                let path = out.join(format!("{name}.zip"));
                pack(&bytes, &path).map_err(of_file(&path))?;
                Some(fs::metadata(&path).map_err(of_file(&path))?.len())
            }
            Host::Netlify => {
                if !netlify::is_recognised(&bytes) {
                    return Err(PackageError::NotRecognised { function: name });
                }
                is_dynamic |= netlify::is_dynamic(&bytes);
                for name in netlify::names_of(name) {
                    write_program(&out.join(name), &bytes)?;
                }
                None
            }
        };
        let start = if architecture.is_of_this_machine() {
            // What is packed is started, not what was built.
            let packed = Path::new("target").join("bootstrap");
            write_program(&packed, &bytes)?;
            let start = first_response(&packed).await;
            fs::remove_file(&packed).map_err(of_file(&packed))?;
            Some(start.map_err(of_file(&packed))?)
        } else {
            None
        };
        let binary_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        packages.push(Package { function: name, binary_bytes, zip_bytes, start });
        bar.inc(1);
    }
    bar.finish_and_clear();
    let mut shown = table(&packages, architecture, &out, build_s);
    if arguments.host == Host::Netlify {
        list(&packages, &out)?;
        if is_dynamic {
            shown.push_str(
                "They need a C library of the system's, and Netlify's functions may have an older one: \
                 to deploy, build with --builder cargo-lambda.\n",
            );
        }
    }
    Ok(shown)
}

/// Writes the list of functions beside their folder, with which the build on Netlify compares its bundle.
fn list(packages: &[Package], out: &Path) -> Result<(), PackageError> {
    let names = packages.iter().flat_map(|package| netlify::names_of(package.function));
    let text = names.collect::<Vec<_>>().join("\n") + "\n";
    let path = out.with_file_name("functions.txt");
    fs::write(&path, text).map_err(of_file(&path))
}

/// Builds all functions, and returns where the binary of each is.
fn build(
    arguments: &PackageArguments,
    architecture: Architecture,
    names: &[&str],
) -> Result<impl Fn(&str) -> PathBuf + use<>, PackageError> {
    let PackageArguments { profile, builder, host, .. } = arguments;
    if *builder == Builder::Cargo && !architecture.is_of_this_machine() {
        return Err(PackageError::OtherArchitecture { wanted: architecture.name() });
    }
    let mut parts: Vec<&str> = match builder {
        Builder::Cargo => vec!["build"],
        Builder::CargoLambda => vec!["lambda", "build"],
    };
    parts.extend(["--locked", "--profile", profile]);
    if *builder == Builder::CargoLambda {
        parts.extend(match (host, architecture) {
            (Host::Lambda, Architecture::Arm64) => &["--arm64"][..],
            (Host::Lambda, Architecture::X86) => &["--x86-64"],
            // Which C library Netlify's functions have is not documented, so they bring their own.
            (Host::Netlify, _) => &["--target", "x86_64-unknown-linux-musl"],
        });
    }
    parts.extend(names.iter().flat_map(|name| ["-p", name]));
    let command = format!("cargo {}", parts.join(" "));
    let mut cargo = Command::new("cargo");
    cargo.args(&parts);
    if *host == Host::Netlify {
        let profile = profile.to_uppercase().replace('-', "_");
        // The bundler recognises a function by a symbol.
        cargo.env(format!("CARGO_PROFILE_{profile}_STRIP"), "debuginfo");
    }
    let status = cargo
        .status()
        .map_err(|source| PackageError::NoBuilder { command: command.clone(), source })?;
    if !status.success() {
        return Err(PackageError::Build { command });
    }
    let folder = if profile == "dev" { "debug".to_owned() } else { profile.clone() };
    let builder = *builder;
    Ok(move |name: &str| match builder {
        Builder::Cargo => Path::new("target").join(&folder).join(name),
        Builder::CargoLambda => Path::new("target/lambda").join(name).join("bootstrap"),
    })
}

/// Writes a binary that can be started.
fn write_program(path: &Path, binary: &[u8]) -> Result<(), PackageError> {
    fs::write(path, binary).map_err(of_file(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(of_file(path))
}

/// Writes a zip file with a binary as `bootstrap`, with no time in it: the same binary makes the same
/// file, so a deployment replaces only what has changed.
fn pack(binary: &[u8], path: &Path) -> io::Result<()> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(9))
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o755);
    let mut zip = ZipWriter::new(File::create(path)?);
    zip.start_file("bootstrap", options)?;
    zip.write_all(binary)?;
    zip.finish()?;
    Ok(())
}

/// The newest glibc that a binary needs, as the minor version of `GLIBC_2.…`; none for a static one.
fn glibc_minor(binary: &[u8]) -> Option<u32> {
    const PREFIX: &[u8] = b"GLIBC_2.";
    let found = binary.windows(PREFIX.len()).enumerate().filter(|(_, part)| *part == PREFIX);
    let minor = |(at, _): (usize, &[u8])| {
        let rest = &binary[at + PREFIX.len()..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
        let digits: String = digits.map(|digit| char::from(*digit)).collect();
        digits.parse().ok()
    };
    found.filter_map(minor).max()
}

/// The median time from a function's start to its first response, which needs no network.
async fn first_response(binary: &Path) -> io::Result<Duration> {
    let variables: Vec<_> = DevEnvironment::of_nowhere().env().variables().collect();
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let started = Instant::now();
        let mut process = FunctionProcess::start(binary, variables.clone(), Lines::Kept).await?;
        process.invoke(preflight(), 10).await.map_err(io::Error::other)?;
        times.push(started.elapsed());
        process.kill().await;
    }
    times.sort_unstable();
    Ok(times[STARTS / 2])
}

/// A request to which every function responds without the table.
fn preflight() -> Value {
    json!({
        "version": "2.0", "rawPath": "/", "rawQueryString": "", "headers": {},
        "requestContext": {"http": {"method": "OPTIONS", "path": "/", "sourceIp": "127.0.0.1"}},
        "isBase64Encoded": false
    })
}

fn table(packages: &[Package], architecture: Architecture, out: &Path, build_s: u64) -> String {
    let megabytes = |bytes: u64| format!("{}.{:02}", bytes / 1_000_000, bytes % 1_000_000 / 10_000);
    let mut text = format!("{:<22}{:>10}{:>10}{:>10}\n", "function", "MB", "zip MB", "start ms");
    for Package { function, binary_bytes, zip_bytes, start } in packages {
        let binary = megabytes(*binary_bytes);
        let zipped = zip_bytes.map_or_else(|| "-".to_owned(), megabytes);
        let ms = start.map_or_else(
            || "-".to_owned(),
            |start| format!("{}.{}", start.as_millis(), start.as_micros() % 1000 / 100),
        );
        let mut over = Vec::new();
        if zip_bytes.is_some_and(|bytes| bytes > ZIP_BYTES_MAX) {
            over.push(format!("zip over {} MB", megabytes(ZIP_BYTES_MAX)));
        }
        if start.is_some_and(|start| start > START_MAX) {
            over.push(format!("start over {} ms", START_MAX.as_millis()));
        }
        let over = over.join(", ");
        let line = format!("{function:<22}{binary:>10}{zipped:>10}{ms:>10}  {over}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let (count, architecture, out) = (packages.len(), architecture.name(), out.display());
    text + &format!("{count} functions for {architecture} in {out}, built in {build_s} s\n")
}

fn of_file(path: &Path) -> impl FnOnce(io::Error) -> PackageError {
    let path = path.to_owned();
    move |source| PackageError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_of_a_binary_is_found() {
        assert_eq!(glibc_minor(b"..GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.17\0"), Some(34));
        assert_eq!(glibc_minor(b"GLIBC_PRIVATE"), None);
    }

    #[test]
    fn the_same_binary_makes_the_same_file_with_an_executable_bootstrap() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one.zip", "other.zip"].map(|name| folder.path().join(name));
        pack(b"a binary", &one).unwrap();
        pack(b"a binary", &other).unwrap();
        let bytes = fs::read(&one).unwrap();
        assert_eq!(bytes, fs::read(&other).unwrap());
        let mut zip = zip::ZipArchive::new(io::Cursor::new(bytes)).unwrap();
        assert_eq!(zip.len(), 1);
        let file = zip.by_name("bootstrap").unwrap();
        assert_eq!(file.unix_mode().unwrap() & 0o777, 0o755);
    }
}
