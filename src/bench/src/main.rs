//! Measures what is promised of rkctl and prints each figure with how it was taken, its target and whether it is met.
//!
//! Nothing is asserted: a missed target does not fail the run, a figure that cannot be taken does. The product is
//! driven as its users drive it, by its commands; only the store and SSH are measured as libraries, beside their
//! peers. Nothing here is imported by what ships.

mod bench;
mod command;
mod drive;
mod etcd;
mod figures;
mod http;
mod lab;
mod load;
mod nginx;
mod objects;
mod phases;
mod proc;
mod report;
mod rkctl;
mod server;
mod stats;
mod wire;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;
use clap::{Parser, ValueEnum};

use crate::bench::Bench;
use crate::figures::{FIGURES, Figure};
use crate::report::{Entry, Measured, Report};

/// Measure rkctl: each figure with how it was taken, its target and whether it is met.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Args {
    /// The release binary.
    #[arg(long, value_name = "PATH", required_unless_present = "list")]
    rkctl: Option<PathBuf>,
    /// Take only these figures.
    #[arg(long, num_args = 1.., value_name = "NAME")]
    only: Vec<String>,
    /// List the figures.
    #[arg(long)]
    list: bool,
    /// Fewer rounds: minutes become one or two.
    #[arg(long)]
    quick: bool,
    /// Where data is written while measuring; a disk as a server's.
    #[arg(long, value_name = "FOLDER", default_value = "/var/tmp")]
    folder: PathBuf,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Answers whether every figure could be taken.
fn run(args: &Args) -> anyhow::Result<bool> {
    let chosen = choose(&args.only)?;
    if args.list {
        let list: String = chosen.iter().map(|figure| format!("{:<8} {}\n", figure.name, figure.about)).collect();
        return print(&list).map(|()| true);
    }
    let Some(rkctl) = &args.rkctl else { bail!("say with --rkctl which binary is measured") };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let mut bench = Bench::new(rkctl, &args.folder, args.quick).await?;
        let taken = tokio::select! {
            taken = take(&mut bench, &chosen) => Some(taken),
            _ = tokio::signal::ctrl_c() => None,
        };
        // Also where it was interrupted.
        bench.end();
        let Some(figures) = taken else { bail!("interrupted") };
        let version = bench.rkctl.title.clone();
        Ok(Report { machine: proc::machine(), version, quick: bench.quick, figures })
    })?;
    match args.output {
        Format::Text => print(&report.text())?,
        Format::Json => print(&(serde_json::to_string_pretty(&report)? + "\n"))?,
    }
    Ok(report.is_complete())
}

fn choose(only: &[String]) -> anyhow::Result<Vec<&'static Figure>> {
    for name in only {
        if !FIGURES.iter().any(|figure| figure.name == *name) {
            let known: Vec<&str> = FIGURES.iter().map(|figure| figure.name).collect();
            bail!("there is no figure `{name}`; there are {}", known.join(", "));
        }
    }
    Ok(FIGURES.iter().filter(|figure| only.is_empty() || only.iter().any(|name| name == figure.name)).collect())
}

async fn take(bench: &mut Bench, chosen: &[&'static Figure]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for figure in chosen {
        eprintln!("bench: {}: {}", figure.name, figure.about);
        let (load_average, began) = (proc::load_average(), Instant::now());
        let (measured, error) = match (figure.take)(bench).await {
            Ok(measured) => (measured, None),
            Err(error) => (Measured::default(), Some(format!("{error:#}"))),
        };
        let elapsed_s = began.elapsed().as_secs_f64();
        entries.push(Entry { name: figure.name, load_average, elapsed_s, measured, error });
    }
    entries
}

/// A closed pipe (`bench … | head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_fit_together_and_figures_are_chosen_by_name() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
        let args = Args::try_parse_from(["bench", "--rkctl", "x", "--only", "store", "size", "--quick"]).unwrap();
        let names = |chosen: Vec<&Figure>| chosen.iter().map(|figure| figure.name).collect::<Vec<_>>();
        // In the order they are taken in, not in the order they were named in.
        assert_eq!(names(choose(&args.only).unwrap()), ["size", "store"]);
        assert_eq!(choose(&[]).unwrap().len(), FIGURES.len());
        let error = choose(&["sizes".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("there is no figure `sizes`; there are size, "), "{error}");
        assert!(Args::try_parse_from(["bench"]).is_err());
        assert!(Args::try_parse_from(["bench", "--list"]).is_ok());
    }

    #[test]
    fn names_of_figures_are_one_word_and_their_own() {
        let mut names: Vec<&str> = FIGURES.iter().map(|figure| figure.name).collect();
        assert!(names.iter().all(|name| name.chars().all(|letter| letter.is_ascii_lowercase())));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FIGURES.len());
    }
}
