//! `rkctl up`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use inventory::Cluster;
use provision::{Action, Job, Observation, Outcome, Plan, Report};

use super::cluster::Prepared;
use super::kubeconfig;
use crate::{exit, output, progress, release, runtime};

/// Make the hosts of an inventory a cluster, or bring the cluster to what the inventory says.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Running it again continues what was interrupted, and changes nothing where all is as it should be.

Examples:
  rkctl up inventories/lab.yaml
  rkctl up --output json > result.json"
)]
pub struct Args {
    #[command(flatten)]
    inventory: super::Inventory,
    /// How progress and result are printed.
    #[arg(long, value_enum, default_value_t)]
    output: output::Format,
    /// Where the administrator's kubeconfig is written; `~/.kube/rkctl-NAME.yaml` where it is left out.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

pub fn run(args: Args) -> exit::Answer {
    let began = Instant::now();
    let cluster = super::cluster::load(&args.inventory.path)?;
    let kubeconfig_path = args.kubeconfig.clone().map_or_else(|| kubeconfig::default_path(&cluster.name), Ok)?;
    let kubeconfig_path = std::path::absolute(kubeconfig_path)?;
    runtime::operator(async {
        let mut prepared = Prepared::new(&cluster).await?;
        let plan = prepared.plan()?;
        let (mut unreachable, mut failed) = (prepared.unreachable(), prepared.counts_as_failure());
        warn(&plan, &unreachable);
        let report = carry_out(&prepared, &plan, args.output).await;
        let mut wrong = verdict(&report, &plan);
        if !plan.steps.is_empty() {
            prepared.observe_again().await;
            // A host that answers now did not when there was work to do.
            failed |= prepared.counts_as_failure();
            unreachable.extend(prepared.unreachable());
            // Where steps failed, they have been told, and what follows from them need not be.
            if wrong.is_empty() {
                wrong = verify(&prepared);
            }
        }
        let kubeconfig = match serving(&cluster, &prepared.observed, &report) {
            Some(ca_pem) => match kubeconfig::ensure(&prepared.fleet, &cluster, ca_pem, &kubeconfig_path).await {
                Ok(()) => Some(&kubeconfig_path),
                Err(error) => {
                    wrong.push(format!("the kubeconfig was not written: {}", stdx::error::chain(error.as_ref())));
                    None
                }
            },
            None => None,
        };
        if failed {
            // A host that was lost during a step has been told with that step.
            let told: Vec<&str> = report.failures().map(|result| result.step.host.as_str()).collect();
            let silent = unreachable.iter().filter(|(host, _)| !told.contains(&host.as_str()));
            wrong.extend(silent.map(|(host, cause)| format!("{host}: cannot be reached: {cause}")));
        }
        let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if args.output == output::Format::Json {
            output::print_json(&serde_json::json!({
                "steps": report.steps, "problems": plan.problems, "notices": plan.notices, "wrong": wrong,
                "kubeconfig": kubeconfig, "elapsedMs": elapsed_ms,
            }))?;
        } else {
            output::print(&summary(&cluster.name, &plan, &report, &wrong, kubeconfig, elapsed_ms))?;
        }
        Ok(if wrong.is_empty() { exit::DONE } else { exit::PARTIAL })
    })
}

fn warn(plan: &Plan, unreachable: &BTreeMap<String, String>) {
    for (host, cause) in unreachable {
        eprintln!("{host}: cannot be reached: {cause}");
    }
    for notice in &plan.notices {
        eprintln!("{}: note: {}; {}", notice.host, notice.message, notice.remedy);
    }
}

async fn carry_out(prepared: &Prepared<'_>, plan: &Plan, format: output::Format) -> Report {
    let progress = progress::progress(format, &plan.steps);
    let mut broken = prepared.unreachable();
    broken.values_mut().for_each(|cause| *cause = format!("it cannot be reached: {cause}"));
    broken.extend(plan.problems.iter().map(|problem| (problem.host.clone(), problem.message.clone())));
    let job = Job {
        cluster: prepared.cluster,
        fleet: &prepared.fleet,
        binary: release::own_binary(),
        git_files: prepared.git_files.clone(),
        progress: progress.as_ref(),
    };
    provision::execute(&job, plan, broken).await
}

/// One message for each thing that went wrong: host, step, cause, remedy.
fn verdict(report: &Report, plan: &Plan) -> Vec<String> {
    let mut wrong: Vec<String> = plan
        .problems
        .iter()
        .map(|problem| format!("{}: {}; {}", problem.host, problem.message, problem.remedy))
        .collect();
    for result in &report.steps {
        if let Outcome::Failed { cause, remedy } = &result.outcome {
            wrong.push(format!("{}: {}: {cause}\n    {remedy}", result.step.host, result.step.title));
        }
    }
    wrong
}

/// Where an API server serves that a kubeconfig can be used with, its authority as far as it was found. A server that
/// became ready in this run counts even where the host did not answer the last look.
fn serving<'a>(
    cluster: &Cluster,
    observed: &'a BTreeMap<String, Observation>,
    report: &Report,
) -> Option<Option<&'a str>> {
    let found = cluster.controllers().find_map(|host| match observed.get(&host.name) {
        Some(Observation::Answered(facts)) if facts.cluster.as_ref().is_some_and(|cluster| cluster.ready) => {
            Some(facts.ca_pem.as_deref())
        }
        _ => None,
    });
    let became_ready = || {
        let mut waited = report.steps.iter().filter(|result| result.step.action == Action::AwaitServer);
        waited.any(|result| result.outcome == Outcome::Done)
    };
    found.or_else(|| became_ready().then_some(None))
}

/// What the hosts and the cluster say afterwards.
fn verify(prepared: &Prepared<'_>) -> Vec<String> {
    let cluster = prepared.cluster;
    let answered = cluster.controllers().find_map(|host| match prepared.observed.get(&host.name) {
        Some(Observation::Answered(facts)) => Some((host, facts)),
        _ => None,
    });
    let Some((controller, facts)) = answered else { return Vec::new() };
    let Some(facts) = &facts.cluster else {
        return vec![format!("{}: the API server does not answer", controller.name)];
    };
    let mut wrong = Vec::new();
    if !facts.ready {
        wrong.push(format!("{}: the API server is not ready: {}", controller.name, facts.unready));
    }
    for host in cluster.present() {
        match facts.nodes.get(&host.name) {
            Some(node) if node.ready => {}
            Some(node) => wrong.push(format!("{}: the node is not Ready: {}", host.name, node.message)),
            None => wrong.push(format!("{}: the node is not in the cluster", host.name)),
        }
    }
    if facts.dns_answers == Some(false) {
        wrong.push(format!(
            "{}: the cluster's DNS does not answer; see `kubectl -n kube-system get pods`",
            controller.name
        ));
    }
    wrong
}

fn summary(
    name: &str,
    plan: &Plan,
    report: &Report,
    wrong: &[String],
    kubeconfig: Option<&PathBuf>,
    elapsed_ms: u64,
) -> String {
    let mut text = String::new();
    for line in wrong {
        text.push_str(&format!("FAILED {line}\n"));
    }
    let done = report.steps.iter().filter(|result| result.outcome == Outcome::Done).count();
    let seconds = elapsed_ms as f64 / 1000.0;
    text.push_str(&match (plan.steps.len(), wrong.is_empty()) {
        (0, true) => format!("The cluster {name} is as it should be: nothing to do ({seconds:.1} s).\n"),
        (1, true) => format!("The cluster {name} is ready: 1 step in {seconds:.1} s.\n"),
        (count, true) => format!("The cluster {name} is ready: {count} steps in {seconds:.1} s.\n"),
        (count, false) => {
            format!("The cluster {name} is not finished: {done} of {count} steps done in {seconds:.1} s.\n")
        }
    });
    if let Some(path) = kubeconfig {
        text.push_str(&format!("export KUBECONFIG={}\n", path.display()));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use provision::{HostFacts, Step, StepResult, Wave};

    use super::*;

    fn report(outcome: Outcome) -> Report {
        let (host, title) = ("cp1".to_owned(), "wait for the API server".to_owned());
        let (id, wave, action) = ("server-ready", Wave::Host, Action::AwaitServer);
        let step =
            Step { host, id, wave, title, action, reason: String::new(), before: String::new(), after: String::new() };
        Report { steps: vec![StepResult { step, outcome, elapsed_ms: 1 }] }
    }

    #[test]
    fn a_kubeconfig_is_for_a_server_that_serves() {
        let text = "apiVersion: rkctl.dev/v1\nkind: Cluster\nmetadata: {name: one}\nspec: {hosts: [{name: cp1, address: 192.0.2.1}]}\n";
        let cluster = inventory::parse(text, Path::new("one.yaml")).unwrap();
        let observed = |observation| BTreeMap::from([("cp1".to_owned(), observation)]);
        let silent = observed(Observation::Failed { cause: "no answer within 30 s".into() });
        let mut facts = HostFacts { ca_pem: Some("pem".into()), ..HostFacts::default() };
        let unready = observed(Observation::Answered(Box::new(facts.clone())));
        facts.cluster = Some(provision::cluster_facts::ClusterFacts { ready: true, ..Default::default() });
        let ready = observed(Observation::Answered(Box::new(facts)));
        let failed = || Outcome::Failed { cause: String::new(), remedy: String::new() };
        for (observed, report, expected) in [
            (&ready, Report::default(), Some(Some("pem"))),
            (&unready, Report::default(), None),
            (&silent, Report::default(), None),
            (&silent, report(failed()), None),
            // It became ready, and only the last look failed.
            (&silent, report(Outcome::Done), Some(None)),
        ] {
            assert_eq!(serving(&cluster, observed, &report), expected, "{observed:?} {report:?}");
        }
    }
}
