//! From the command line to the exit code: which drills, on which lab, in which order.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use libtest_mimic::{Arguments, Failed, Trial};
use testkit::tools::repository;

use super::cluster::{Cluster, HOSTS};
use super::hosts::{Hosts, Status};
use super::lab::Lab;
use super::machine::{self, Machine};
use super::report::report;
use super::scene::Scene;
use super::{Drill, Place, Stage, shutdown};

/// Drills at a time where they leave each other alone: the whole machine has two cores.
const PARALLEL: usize = 2;
const USAGE: u8 = 2;
/// As cargo names the target in `.cargo/config.toml`.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Runs what the command line asks for, one stage after the other.
pub fn main(stages: &[Stage]) -> ExitCode {
    let arguments = Arguments::from_args();
    let chosen = |stage: &&Stage| {
        // Words such as `reboot` mean the drills that are always run.
        let is_named = |named| arguments.filter.as_ref().is_some_and(|filter| filter.starts_with(named));
        stage.named.is_none_or(is_named) && stage.drills().any(|drill| is_chosen(&arguments, short(drill)))
    };
    let chosen: Vec<&Stage> = stages.iter().filter(chosen).collect();
    if arguments.list || chosen.is_empty() {
        let trial = |drill| Trial::test(short(drill), || Ok(()));
        return libtest_mimic::run(&arguments, stages.iter().flat_map(Stage::drills).map(trial).collect()).exit_code();
    }
    let rkctl = match find_rkctl() {
        Ok(rkctl) => rkctl,
        Err(remedy) => {
            eprintln!("drills: {remedy}");
            return USAGE.into();
        }
    };
    shutdown::on_signals();
    // One line at once; the drill's own report has the rest.
    std::panic::set_hook(Box::new(|panic| eprintln!("  {panic}")));
    let failed = chosen.into_iter().filter(|stage| !play_on(stage, &arguments, &rkctl)).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Makes the stage, runs what is chosen of it and takes it down. Whether all was well.
fn play_on(stage: &Stage, arguments: &Arguments, rkctl: &Path) -> bool {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let cluster = Arc::new(make(stage, rkctl));
        let first = perform(arguments, stage.side_by_side, &cluster, PARALLEL);
        let second = perform(arguments, stage.alone, &cluster, 1);
        first & second
    }));
    let clean = shutdown::take_down();
    outcome.is_ok_and(|passed| passed) && clean
}

/// `services::web`, without the name of the whole.
fn short(drill: &Drill) -> &'static str {
    drill.name.split_once("::").map_or(drill.name, |(_, rest)| rest)
}

/// As libtest-mimic chooses, asked before a lab is made for nothing.
fn is_chosen(arguments: &Arguments, name: &str) -> bool {
    let matches = |filter: &String| if arguments.exact { name == filter } else { name.contains(filter.as_str()) };
    arguments.filter.as_ref().is_none_or(matches) && !arguments.skip.iter().any(matches)
}

/// The binary under test: `$RKCTL`, else the one cargo built beside this test.
fn find_rkctl() -> Result<PathBuf, String> {
    let remedy = "cargo build -p rkctl, or name one in RKCTL";
    if let Some(named) = std::env::var_os("RKCTL") {
        let path = PathBuf::from(named);
        return if path.is_file() { Ok(path) } else { Err(format!("{} is missing: {remedy}", path.display())) };
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    let candidates = [target.join(TARGET).join("debug/rkctl"), target.join("debug/rkctl")];
    let found = candidates.iter().find(|path| path.is_file());
    found.cloned().ok_or_else(|| format!("{} is missing: {remedy}", candidates[0].display()))
}

/// The hosts and their cluster. A lab that is asked for by name is kept, with the cluster's files.
fn make(stage: &Stage, rkctl: &Path) -> Cluster {
    let rkctl = std::path::absolute(rkctl).expect("a path that was found");
    let kept = std::env::var("RKCTL_E2E_LAB").ok();
    let name = kept.clone().unwrap_or_else(|| format!("e2e-{}", std::process::id())) + stage.suffix;
    let folder = std::env::temp_dir().join(format!("rkctl-{name}"));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    restrict(&folder);
    let began = Instant::now();
    let (hosts, status, names): (Box<dyn Hosts>, Status, &[&str]) = match stage.place {
        Place::Lab { spare, packages } => {
            let lab = Lab { rkctl: rkctl.clone(), name: name.clone() };
            if kept.is_none() {
                shutdown::arm(Some(&lab), &folder);
            }
            let status = lab.up(&[&HOSTS, spare].concat(), packages);
            (Box::new(lab), status, &HOSTS)
        }
        Place::Machine => {
            shutdown::arm(None, &folder);
            let machine = Machine::start(&folder);
            let status = machine.status();
            (Box::new(machine), status, &[machine::NAME])
        }
    };
    eprintln!("drills: the hosts of {name} are up after {:.1} s", began.elapsed().as_secs_f64());
    Cluster::make(stage, rkctl, (hosts, status, names), &folder)
}

/// There are keys and a kubeconfig in it.
fn restrict(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).expect("a folder of ours");
}

/// Whether all drills passed that are chosen.
fn perform(arguments: &Arguments, drills: &[&'static [Drill]], cluster: &Arc<Cluster>, parallel: usize) -> bool {
    let trial = |drill: &'static Drill| {
        let cluster = cluster.clone();
        Trial::test(short(drill), move || play(drill, cluster))
    };
    let trials: Vec<Trial> = drills.iter().copied().flatten().map(trial).collect();
    if !trials.iter().any(|trial| is_chosen(arguments, trial.name())) {
        return true;
    }
    let arguments = Arguments { test_threads: Some(parallel), ..arguments.clone() };
    !libtest_mimic::run(&arguments, trials).has_failed()
}

fn play(drill: &Drill, cluster: Arc<Cluster>) -> Result<(), Failed> {
    let began = Instant::now();
    let namespace = short(drill).replace("::", "-").replace('_', "-");
    // A DNS label.
    let namespace = namespace[..namespace.len().min(63)].trim_end_matches('-').to_owned();
    let set = catch_unwind(AssertUnwindSafe(|| Scene::set(cluster.clone(), &namespace)));
    let scene = set.map_err(|panic| Failed::from(format!("{}\n{}", said(panic.as_ref()), cluster.journals())))?;
    let outcome = catch_unwind(AssertUnwindSafe(|| (drill.run)(&scene)));
    let seconds = began.elapsed().as_secs_f64();
    let result = match outcome {
        Ok(()) => {
            eprintln!("  {} {seconds:.1} s", short(drill));
            Ok(())
        }
        Err(panic) => {
            let text = format!("after {seconds:.1} s: {}", said(panic.as_ref()));
            Err(Failed::from(format!("{text}\n\n{}", report(&scene))))
        }
    };
    scene.clear();
    result
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "a panic".to_owned())
}
