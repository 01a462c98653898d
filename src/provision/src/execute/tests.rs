use std::sync::Arc;

use async_trait::async_trait;
use ssh::{Command, Output, Remote, Upload};

use super::*;
use crate::plan::Action;

/// A host that writes down what is done on it and fails where a command holds a word.
struct Fake {
    name: String,
    fails_on: &'static str,
    done: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Remote for Fake {
    fn name(&self) -> &str {
        &self.name
    }

    async fn exec(&self, command: Command) -> Result<Output, ssh::Error> {
        let text = format!("{}: {} {}", self.name, command.script(), command.args().join(" "));
        let fails = !self.fails_on.is_empty() && text.contains(self.fails_on);
        self.done.lock().unwrap().push(text);
        let mut output = Output::exited(u32::from(fails), "answer");
        output.stderr = b"rkctl: it broke".to_vec();
        Ok(output)
    }

    async fn upload(&self, upload: Upload) -> Result<(), ssh::Error> {
        self.done.lock().unwrap().push(format!("{}: upload {}", self.name, upload.path));
        Ok(())
    }

    async fn download(&self, _path: &str, _limit_bytes: usize) -> Result<bytes::Bytes, ssh::Error> {
        Ok(bytes::Bytes::from_static(b"pem"))
    }
}

struct Quiet;
impl Progress for Quiet {
    fn begin(&self, _step: &Step) {}
    fn end(&self, _result: &StepResult) {}
}

fn step(host: &str, wave: Wave, title: &str, action: Action) -> Step {
    let empty = String::new;
    Step {
        host: host.into(),
        id: "test",
        wave,
        title: title.into(),
        reason: empty(),
        before: empty(),
        after: empty(),
        action,
    }
}

fn script(host: &str, wave: Wave, script: &'static str) -> Step {
    let action = Action::Run { script, args: vec![], input: String::new(), timeout: Duration::from_secs(1) };
    step(host, wave, script, action)
}

async fn run(steps: Vec<Step>, fails_on: &'static str) -> (Report, Vec<String>) {
    let text = "spec: {hosts: [{name: cp1, role: controller, address: 10.0.0.1}, {name: w1, address: 10.0.0.2}, {name: w2, address: 10.0.0.3}]}";
    let cluster = inventory::parse(text, std::path::Path::new("x")).unwrap();
    let done = Arc::new(Mutex::new(Vec::new()));
    let fleet = Fleet::of(
        ["cp1", "w1", "w2"]
            .map(|name| Box::new(Fake { name: name.into(), fails_on, done: done.clone() }) as Box<dyn Remote>),
    );
    let job =
        Job { cluster: &cluster, fleet: &fleet, binary: "/x".into(), git_files: GitFiles::default(), progress: &Quiet };
    let plan = Plan { steps, ..Plan::default() };
    let report = execute(&job, &plan, BTreeMap::new()).await;
    let done = done.lock().unwrap().clone();
    (report, done)
}

fn outcome<'a>(report: &'a Report, host: &str, title: &str) -> &'a Outcome {
    &report.steps.iter().find(|result| result.step.host == host && result.step.title == title).unwrap().outcome
}

#[tokio::test]
async fn a_failed_host_stops_and_the_others_are_finished() {
    let steps = vec![
        script("cp1", Wave::Host, "prepare"),
        script("w1", Wave::Host, "prepare"),
        script("w1", Wave::Host, "break"),
        script("w1", Wave::Join, "join"),
        script("w2", Wave::Join, "join"),
    ];
    let (report, _) = run(steps, "w1: break").await;
    assert!(!report.is_success());
    let Outcome::Failed { cause, remedy } = outcome(&report, "w1", "break") else { panic!("{report:?}") };
    assert_eq!((cause.as_str(), remedy.as_str()), ("it broke", "run `rkctl up` again to continue"));
    assert_eq!(outcome(&report, "w1", "join"), &Outcome::Skipped { cause: "`break` failed on w1".into() });
    assert_eq!(outcome(&report, "w2", "join"), &Outcome::Done);
}

#[tokio::test]
async fn nothing_joins_without_a_control_plane() {
    let steps =
        vec![script("cp1", Wave::Host, "serve"), script("w1", Wave::Host, "prepare"), script("w1", Wave::Join, "join")];
    let (report, _) = run(steps, "cp1: serve").await;
    assert_eq!(outcome(&report, "w1", "prepare"), &Outcome::Done);
    assert_eq!(outcome(&report, "w1", "join"), &Outcome::Skipped { cause: "the control plane is not ready".into() });
}

#[tokio::test]
async fn one_token_is_made_for_all_hosts_and_never_stands_in_a_command() {
    let token =
        |host: &str| step(host, Wave::Join, "token", Action::HandToken { server: "https://10.0.0.1:6443".into() });
    let (report, done) = run(vec![token("w1"), token("w2")], "").await;
    assert!(report.is_success());
    assert_eq!(done.iter().filter(|line| line.contains("token create")).count(), 1);
    assert!(done.contains(&"w1: upload /etc/rkctl/bootstrap.kubeconfig".to_owned()));
    assert!(!done.iter().any(|line| line.contains("answer")), "{done:?}");
}

#[tokio::test]
async fn a_unit_that_does_not_start_is_told_with_its_last_words() {
    let (report, _) =
        run(vec![step("w1", Wave::Host, "start", Action::Restart { unit: "rkctl-agent" })], "restart").await;
    let Outcome::Failed { cause, remedy } = outcome(&report, "w1", "start") else { panic!("{report:?}") };
    assert!(cause.contains("rkctl-agent does not run; its last words:\nanswer"), "{cause}");
    assert!(remedy.contains("journalctl -u rkctl-agent"), "{remedy}");
}

#[tokio::test]
async fn nodes_are_set_where_their_host_has_joined() {
    let set = |name: &str, joined| {
        let settings = crate::cluster_facts::NodeSettings { name: name.into(), ..Default::default() };
        step("cp1", Wave::Cluster, name, Action::SetNode { settings, joined })
    };
    let failing = script("w1", Wave::Host, "break");
    let (report, done) = run(vec![failing.clone(), set("w1", false), set("w2", false)], "w1: break").await;
    assert_eq!(outcome(&report, "cp1", "w1"), &Outcome::Skipped { cause: "`break` failed on w1".into() });
    assert_eq!(outcome(&report, "cp1", "w2"), &Outcome::Done);
    assert_eq!(done.iter().filter(|line| line.contains("nodes set")).count(), 1);
    // A node that is in the cluster already is set whatever became of its host.
    let (report, _) = run(vec![failing, set("w1", true)], "w1: break").await;
    assert_eq!(outcome(&report, "cp1", "w1"), &Outcome::Done);
}

#[tokio::test]
async fn a_report_tells_why_a_step_is_needed_and_why_it_was_not_begun() {
    let mut needed = script("w1", Wave::Join, "join");
    needed.reason = "it has not joined yet".into();
    let (report, _) = run(vec![script("w1", Wave::Host, "break"), needed], "w1: break").await;
    let text = serde_json::to_string(&report.steps[1]).unwrap();
    assert!(text.contains(r#""reason":"it has not joined yet""#) && text.contains(r#""cause":"`break` failed on w1""#));
    assert_eq!(text.matches("\"reason\"").count(), 1, "no key is there twice: {text}");
}

#[test]
fn a_remedy_fits_what_went_wrong() {
    let step = step("w1", Wave::Host, "write /etc/x", Action::Reset);
    for (detail, wanted) in [
        ("cp: error writing 'x': No space left on device", "make room on the disk of w1"),
        ("it broke", "run `rkctl up` again"),
    ] {
        let remedy = actions::remedy(&step, &crate::Error::Command { detail: detail.to_owned() });
        assert!(remedy.contains(wanted), "{remedy}");
    }
    let lost = ssh::Error::ConnectTimeout { host: "w1".into(), phase: "opening a channel", timeout_ms: 1 };
    let remedy = actions::remedy(&step, &crate::Error::Ssh { doing: "x".into(), source: Box::new(lost) });
    assert!(remedy.contains("w1 is up and the network to it holds"), "{remedy}");
}
