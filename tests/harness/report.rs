//! What a person needs to read when a drill has failed.

use super::scene::Scene;

/// Lines of each answer, so that the reason is not buried.
const LINES: usize = 120;

/// The cluster and the drill's namespace as they are now, and what the hosts said last.
pub fn report(scene: &Scene) -> String {
    let mut text = String::new();
    if !scene.cluster.answers() {
        return format!("The API server cannot be reached.\n{}", scene.cluster.journals());
    }
    for words in [
        "get nodes --output wide",
        "get pods --all-namespaces --output wide",
        "get all,ingresses,endpointslices --output wide",
        "get events --sort-by=.lastTimestamp",
        "describe pods",
    ] {
        let words = format!("{words} --request-timeout=5s");
        let ran = scene.kubectl.run(&words).report();
        let lines: Vec<&str> = ran.lines().collect();
        text.push_str(&lines[..lines.len().min(LINES)].join("\n"));
        if lines.len() > LINES {
            text.push_str(&format!("\n… and {} more lines", lines.len() - LINES));
        }
        text.push('\n');
    }
    text.push_str(&scene.cluster.journals());
    text
}

/// The lines that two texts do not share, as a person reads them.
pub fn differences(before: &str, after: &str) -> String {
    let lacks = |text: &str, line: &&str| !text.lines().any(|other| other == *line);
    let gone = before.lines().filter(|line| lacks(after, line)).map(|line| format!("- {line}\n"));
    let come = after.lines().filter(|line| lacks(before, line)).map(|line| format!("+ {line}\n"));
    gone.chain(come).collect()
}
