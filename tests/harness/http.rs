//! HTTP from this machine, which is outside the cluster, to its hosts.

use std::process::Command;
use std::time::Duration;

use super::program::run;

/// A request that takes longer has failed.
const REQUEST_BOUND_S: &str = "3";
const BOUND: Duration = Duration::from_secs(60);

/// The answer's body, or what is wrong.
pub fn get(url: &str, host: Option<&str>) -> Result<String, String> {
    let mut command = curl(url);
    if let Some(host) = host {
        command.arg("--header").arg(format!("Host: {host}"));
    }
    body_of(&mut command)
}

/// The body of `https://HOST/` at `address`, where its certificate leads to the one in the file `authority`.
pub fn get_secure(host: &str, address: &str, authority: &str) -> Result<String, String> {
    let mut command = curl(&format!("https://{host}/"));
    body_of(command.args(["--cacert", authority, "--resolve", &format!("{host}:443:{address}")]))
}

fn curl(url: &str) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", REQUEST_BOUND_S, url]);
    command
}

fn body_of(command: &mut Command) -> Result<String, String> {
    let ran = run(command, BOUND, b"");
    if ran.status.success() { Ok(ran.stdout) } else { Err(ran.report()) }
}

/// The bodies of `count` answers to as many requests, each of its own connection.
pub fn get_many(url: &str, count: usize) -> Result<Vec<String>, String> {
    // curl fills in the numbers; the server closes the connection after each answer.
    Ok(get(&format!("{url}?[1-{count}]"), None)?.lines().map(str::to_owned).collect())
}
