//! `rkctl up`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use inventory::{Cluster, Host, State};
use provision::cluster_facts::ClusterFacts;
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
        }
        // Where steps failed, they have been told, and what follows from them need not be.
        if wrong.is_empty() {
            wrong = verify(&cluster, &prepared.observed, &unreachable);
        }
        let skipped = if failed { Vec::new() } else { skipped(&cluster, &prepared.observed, &unreachable) };
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
                "skipped": skipped,
                "kubeconfig": kubeconfig, "elapsedMs": elapsed_ms,
            }))?;
        } else {
            let outcome = Summary { plan: &plan, report: &report, wrong: &wrong, skipped: &skipped };
            output::print(&outcome.text(&cluster.name, kubeconfig, elapsed_ms))?;
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
    let found = cluster.controllers().find_map(|host| {
        let facts = observed.get(&host.name)?.facts()?;
        let serves = facts.cluster.as_ref().is_some_and(|cluster| cluster.ready);
        // Whoever may look into another cluster is told so, and gets no way in under this one's name.
        let ours = facts.cluster_name.as_ref().is_none_or(|name| *name == cluster.name);
        (serves && ours).then_some(facts.ca_pem.as_deref())
    });
    let became_ready = || {
        let mut waited = report.steps.iter().filter(|result| result.step.action == Action::AwaitServer);
        waited.any(|result| result.outcome == Outcome::Done)
    };
    found.or_else(|| became_ready().then_some(None))
}

/// What the control-plane host that answered says of the cluster; `None` where none answered.
fn told<'a>(
    cluster: &'a Cluster,
    observed: &'a BTreeMap<String, Observation>,
) -> Option<(&'a Host, Option<&'a ClusterFacts>)> {
    cluster.controllers().find_map(|host| Some((host, observed.get(&host.name)?.facts()?.cluster.as_ref())))
}

/// What the hosts and the cluster say afterwards. Hosts that could not be reached are told by themselves.
fn verify(
    cluster: &Cluster,
    observed: &BTreeMap<String, Observation>,
    unreachable: &BTreeMap<String, String>,
) -> Vec<String> {
    let Some((controller, facts)) = told(cluster, observed) else { return Vec::new() };
    let Some(facts) = facts else {
        return vec![format!("{}: the API server does not answer", controller.name)];
    };
    let mut wrong = Vec::new();
    if !facts.ready {
        wrong.push(format!("{}: the API server is not ready: {}", controller.name, facts.unready));
    }
    for host in cluster.present().filter(|host| !unreachable.contains_key(&host.name)) {
        match facts.nodes.get(&host.name) {
            Some(node) if node.ready => {}
            Some(node) => wrong.push(format!("{}: the node is not Ready: {}", host.name, node.message)),
            None => wrong.push(format!("{}: the node is not in the cluster", host.name)),
        }
    }
    for host in cluster.hosts.iter().filter(|host| host.state == State::Absent) {
        if facts.nodes.contains_key(&host.name) {
            wrong.push(format!(
                "{}: its node is in the cluster again, since its agent runs: see that the host answers, or switch it \
                 off; then run `rkctl up` again",
                host.name
            ));
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

/// Hosts that the inventory lets be where they cannot be reached, and what the cluster says of them.
fn skipped(
    cluster: &Cluster,
    observed: &BTreeMap<String, Observation>,
    unreachable: &BTreeMap<String, String>,
) -> Vec<String> {
    let nodes = told(cluster, observed).and_then(|(_, facts)| Some(&facts?.nodes));
    let state = |host: &str| match nodes.map(|nodes| nodes.get(host)) {
        None => "",
        Some(None) => "; it has not joined",
        Some(Some(node)) if node.ready => "; its node is Ready",
        Some(Some(_)) => "; its node is not Ready",
    };
    unreachable.iter().map(|(host, cause)| format!("{host}: cannot be reached: {cause}{}", state(host))).collect()
}

/// What came of a run, for people.
struct Summary<'a> {
    plan: &'a Plan,
    report: &'a Report,
    wrong: &'a [String],
    skipped: &'a [String],
}

impl Summary<'_> {
    fn text(&self, name: &str, kubeconfig: Option<&PathBuf>, elapsed_ms: u64) -> String {
        let mut text = String::new();
        self.wrong.iter().for_each(|line| text.push_str(&format!("FAILED {line}\n")));
        for result in &self.report.steps {
            result.notes.iter().for_each(|note| text.push_str(&format!("NOTE {}: {note}\n", result.step.host)));
        }
        self.skipped.iter().for_each(|line| text.push_str(&format!("SKIPPED {line}\n")));
        let done = self.report.steps.iter().filter(|result| result.outcome == Outcome::Done).count();
        let seconds = elapsed_ms as f64 / 1000.0;
        let but = if self.skipped.is_empty() { "" } else { ", but for hosts that were skipped" };
        text.push_str(&match (self.plan.steps.len(), self.wrong.is_empty()) {
            (0, true) => format!("The cluster {name} is as it should be{but}: nothing to do ({seconds:.1} s).\n"),
            (1, true) => format!("The cluster {name} is ready{but}: 1 step in {seconds:.1} s.\n"),
            (count, true) => format!("The cluster {name} is ready{but}: {count} steps in {seconds:.1} s.\n"),
            (0, false) => format!("The cluster {name} is not as it should be: nothing was begun ({seconds:.1} s).\n"),
            (count, false) => {
                format!("The cluster {name} is not finished: {done} of {count} steps done in {seconds:.1} s.\n")
            }
        });
        if let Some(path) = kubeconfig {
            text.push_str(&format!("export KUBECONFIG={}\n", path.display()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use provision::cluster_facts::NodeFacts;
    use provision::{HostFacts, Step, StepResult, Wave};

    use super::*;

    fn report(outcome: Outcome) -> Report {
        let (host, title) = ("cp1".to_owned(), "wait for the API server".to_owned());
        let (id, wave, action) = ("server-ready", Wave::Host, Action::AwaitServer);
        let step =
            Step { host, id, wave, title, action, reason: String::new(), before: String::new(), after: String::new() };
        Report { steps: vec![StepResult { step, outcome, elapsed_ms: 1, notes: vec![] }] }
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
        let ready = observed(Observation::Answered(Box::new(facts.clone())));
        facts.cluster_name = Some("two".into());
        let another = observed(Observation::Answered(Box::new(facts)));
        let failed = || Outcome::Failed { cause: String::new(), remedy: String::new() };
        for (observed, report, expected) in [
            (&ready, Report::default(), Some(Some("pem"))),
            (&unready, Report::default(), None),
            (&another, Report::default(), None),
            (&silent, Report::default(), None),
            (&silent, report(failed()), None),
            // It became ready, and only the last look failed.
            (&silent, report(Outcome::Done), Some(None)),
        ] {
            assert_eq!(serving(&cluster, observed, &report), expected, "{observed:?} {report:?}");
        }
    }

    #[test]
    fn a_host_that_was_skipped_is_told_and_one_that_answers_is_judged() {
        let text = "spec: {hosts: [{name: cp1, role: controller, address: 192.0.2.1}, {name: w1, address: 192.0.2.2}, {name: w2, address: 192.0.2.3, state: absent}]}";
        let cluster = inventory::parse(text, Path::new("one.yaml")).unwrap();
        let node = |ready| NodeFacts { ready, message: "no word".into(), ..NodeFacts::default() };
        let told = |nodes: &[(&str, bool)]| {
            let nodes = nodes.iter().map(|(name, ready)| ((*name).to_owned(), node(*ready))).collect();
            let facts = HostFacts {
                cluster: Some(ClusterFacts { ready: true, nodes, ..ClusterFacts::default() }),
                ..HostFacts::default()
            };
            BTreeMap::from([("cp1".to_owned(), Observation::Answered(Box::new(facts)))])
        };
        let cut = BTreeMap::from([("w1".to_owned(), "no route".to_owned())]);
        let all = BTreeMap::new();
        let (both, silent) = (told(&[("cp1", true), ("w1", true)]), told(&[("cp1", true), ("w1", false)]));
        let (joined, again) = (told(&[("cp1", true)]), told(&[("cp1", true), ("w1", true), ("w2", true)]));
        for (observed, unreachable, wrong, skips) in [
            (&both, &all, "", ""),
            (&silent, &all, "w1: the node is not Ready: no word", ""),
            (&silent, &cut, "", "w1: cannot be reached: no route; its node is not Ready"),
            (&joined, &cut, "", "w1: cannot be reached: no route; it has not joined"),
            (&again, &all, "w2: its node is in the cluster again", ""),
        ] {
            let found = verify(&cluster, observed, unreachable).join("\n");
            assert!(found.starts_with(wrong) && found.is_empty() == wrong.is_empty(), "{found}");
            let lines = skipped(&cluster, observed, unreachable);
            assert_eq!(lines.join("\n"), skips);
            let (plan, report, wrong) = (Plan::default(), Report::default(), Vec::new());
            let summary = Summary { plan: &plan, report: &report, wrong: &wrong, skipped: &lines };
            assert_eq!(summary.text("one", None, 0).contains("as it should be: nothing"), lines.is_empty());
        }
    }
}
