//! `~/.ssh/config`: what a user of OpenSSH has said about hosts, turned into targets.
//!
//! Understood are `Host`, `Match` (all, host, originalhost, user, localuser), `Include`, and the keywords of
//! [`HostConfig`]. Keywords that only concern terminals, forwarding and the like change nothing for us and are
//! passed over; those that would change the way to a host (`ProxyCommand`) are refused when they apply.

mod parse;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;
use crate::host_key::{HostKeyPolicy, usual_files};
use crate::target::{Auth, KeyFile, Target, Timeouts};
use parse::{At, Directive, Parser, Subject};

/// Jump hosts that need jump hosts….
const JUMP_DEPTH_LIMIT: usize = 8;

/// Keys that are tried when none is named, as OpenSSH does.
const USUAL_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// The directives of the user's and the system's files.
#[derive(Debug, Clone, Default)]
pub struct ClientConfig {
    home: PathBuf,
    local_user: String,
    directives: Vec<Directive>,
}

/// `StrictHostKeyChecking`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrictHostKeyChecking {
    /// `yes`; `ask` means the same here, since nobody is asked.
    Yes,
    /// `accept-new`.
    AcceptNew,
    /// `no` or `off`: new keys are accepted; changed ones are refused all the same.
    No,
}

/// What the files say about one host. The first value found for a keyword holds; key files add up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// `HostName`.
    pub host_name: Option<String>,
    /// `Port`.
    pub port: Option<u16>,
    /// `User`.
    pub user: Option<String>,
    /// `IdentityFile`, every one.
    pub identity_files: Vec<PathBuf>,
    /// `IdentitiesOnly`.
    pub identities_only: Option<bool>,
    /// `IdentityAgent`: a socket, or `none`.
    pub identity_agent: Option<String>,
    /// `ProxyJump`, outermost first; empty for `none`.
    pub proxy_jump: Option<Vec<String>>,
    /// `UserKnownHostsFile`.
    pub user_known_hosts_files: Option<Vec<PathBuf>>,
    /// `StrictHostKeyChecking`.
    pub strict_host_key_checking: Option<StrictHostKeyChecking>,
    /// `HostKeyAlias`.
    pub host_key_alias: Option<String>,
    /// `ConnectTimeout`, in seconds.
    pub connect_timeout_s: Option<u64>,
    /// `ServerAliveInterval`, in seconds; 0 for never.
    pub server_alive_interval_s: Option<u64>,
}

impl ClientConfig {
    /// Reads `~/.ssh/config`, then `/etc/ssh/ssh_config`; files that do not exist count as empty.
    pub fn load() -> Result<Self, Error> {
        let home = std::env::home_dir().unwrap_or_else(|| PathBuf::from("/root"));
        let mut parser = Parser { home: &home, directives: Vec::new() };
        parser.file(&home.join(".ssh/config"), &[], 0)?;
        parser.file(Path::new("/etc/ssh/ssh_config"), &[], 0)?;
        let directives = parser.directives;
        Ok(Self { local_user: local_user(), home, directives })
    }

    /// Reads one file, with `home` for `~`.
    pub fn load_file(path: &Path, home: &Path) -> Result<Self, Error> {
        let mut parser = Parser { home, directives: Vec::new() };
        parser.file(path, &[], 0)?;
        let directives = parser.directives;
        Ok(Self { local_user: local_user(), home: home.to_owned(), directives })
    }

    /// The same of a text that was read from `path`.
    ///
    /// # Errors
    /// What is wrong, with its line.
    pub fn parse(path: &Path, text: &str, home: &Path) -> Result<Self, Error> {
        let mut parser = Parser { home, directives: Vec::new() };
        parser.text(path, text, &[], 0)?;
        let directives = parser.directives;
        Ok(Self { local_user: local_user(), home: home.to_owned(), directives })
    }

    /// What the files say about the host that is called `name`.
    pub fn host(&self, name: &str) -> Result<HostConfig, Error> {
        let mut found = HostConfig::default();
        for directive in &self.directives {
            let host = found.host_name.as_deref().unwrap_or(name).to_owned();
            let subject = Subject {
                original: name,
                host: &host,
                user: found.user.as_deref().unwrap_or(&self.local_user),
                local_user: &self.local_user,
            };
            if directive.conditions.iter().all(|condition| condition.holds(&subject)) {
                self.apply(&mut found, directive, name)?;
            }
        }
        Ok(found)
    }

    fn apply(&self, found: &mut HostConfig, directive: &Directive, name: &str) -> Result<(), Error> {
        let at = &directive.at;
        let value = directive.words[0].as_str();
        match directive.keyword.as_str() {
            "hostname" => set(&mut found.host_name, value.replace("%%", "\0").replace("%h", name).replace('\0', "%")),
            "port" => set(&mut found.port, number(at, "Port", value)?),
            "user" => set(&mut found.user, value.to_owned()),
            "identityfile" if value.eq_ignore_ascii_case("none") => {}
            "identityfile" => {
                let path = self.expand(at, value, name, found)?;
                if !found.identity_files.contains(&path) {
                    found.identity_files.push(path);
                }
            }
            "identitiesonly" => set(&mut found.identities_only, yes_or_no(at, "IdentitiesOnly", value)?),
            "identityagent" => set(&mut found.identity_agent, value.to_owned()),
            "proxyjump" => set(&mut found.proxy_jump, jumps(value)),
            "proxycommand" if value.eq_ignore_ascii_case("none") || found.proxy_jump.is_some() => {}
            "proxycommand" => return Err(at.error("ProxyCommand is not supported: use ProxyJump")),
            "userknownhostsfile" => {
                let files = directive.words.iter().filter(|word| !word.eq_ignore_ascii_case("none"));
                let files = files.map(|word| self.expand(at, word, name, found)).collect::<Result<_, _>>()?;
                set(&mut found.user_known_hosts_files, files);
            }
            "stricthostkeychecking" => set(&mut found.strict_host_key_checking, strictness(at, value)?),
            "hostkeyalias" => set(&mut found.host_key_alias, value.to_owned()),
            "connecttimeout" if value.eq_ignore_ascii_case("none") => {}
            "connecttimeout" => set(&mut found.connect_timeout_s, number(at, "ConnectTimeout", value)?),
            "serveraliveinterval" => set(&mut found.server_alive_interval_s, number(at, "ServerAliveInterval", value)?),
            _ => {}
        }
        Ok(())
    }

    /// Replaces `~` and the `%` tokens of a file name.
    fn expand(&self, at: &At, text: &str, name: &str, found: &HostConfig) -> Result<PathBuf, Error> {
        let mut out = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some('%') => out.push('%'),
                Some('d') => out.push_str(&self.home.to_string_lossy()),
                Some('h') => out.push_str(found.host_name.as_deref().unwrap_or(name)),
                Some('n') => out.push_str(name),
                Some('p') => out.push_str(&found.port.unwrap_or(22).to_string()),
                Some('r') => out.push_str(found.user.as_deref().unwrap_or(&self.local_user)),
                Some('u') => out.push_str(&self.local_user),
                other => {
                    return Err(at.error(format!("unknown token %{}", other.map(String::from).unwrap_or_default())));
                }
            }
        }
        Ok(match out.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None => PathBuf::from(out),
        })
    }

    /// A target for the host that is called `name`, with everything the files say about it and OpenSSH's
    /// defaults for the rest. The caller may still change any of it.
    pub fn target(&self, name: &str) -> Result<Target, Error> {
        self.target_at(name, 0)
    }

    fn target_at(&self, name: &str, depth: usize) -> Result<Target, Error> {
        let found = self.host(name)?;
        let mut target = Target::new(
            found.host_name.clone().unwrap_or_else(|| name.to_owned()),
            found.user.clone().unwrap_or_else(|| self.local_user.clone()),
        );
        target.name = name.to_owned();
        target.port = found.port.unwrap_or(22);
        target.auth = self.auth(&found);
        target.host_key_alias = found.host_key_alias.clone();
        target.host_key = policy(&found);
        target.timeouts = timeouts(&found);
        for jump in found.proxy_jump.iter().flatten() {
            if depth >= JUMP_DEPTH_LIMIT {
                let source =
                    std::io::Error::other(format!("jump hosts lead to jump hosts more than {JUMP_DEPTH_LIMIT} deep"));
                return Err(Error::Connect { host: name.to_owned(), source });
            }
            let (user, host, port) =
                split_jump(jump).ok_or_else(|| Error::Connect { host: name.to_owned(), source: bad_jump(jump) })?;
            let mut hop = self.target_at(host, depth + 1)?;
            hop.user = user.map_or(hop.user, str::to_owned);
            hop.port = port.unwrap_or(hop.port);
            // The first of the list is the outermost; what it needs itself comes before it.
            let mut innermost = &mut hop;
            while innermost.jump.is_some() {
                innermost =
                    innermost.jump.as_deref_mut().unwrap_or_else(|| unreachable!("checked in the loop's condition"));
            }
            innermost.jump = target.jump.take();
            target.jump = Some(Box::new(hop));
        }
        Ok(target)
    }

    fn auth(&self, found: &HostConfig) -> Vec<Auth> {
        let mut auth = Vec::new();
        let named = !found.identity_files.is_empty();
        let socket = match found.identity_agent.as_deref() {
            Some("none") => None,
            Some("SSH_AUTH_SOCK") | None => std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from),
            Some(path) => {
                Some(path.strip_prefix("~/").map_or_else(|| PathBuf::from(path), |rest| self.home.join(rest)))
            }
        };
        let keys: Vec<KeyFile> = match named {
            true => found.identity_files.iter().map(|path| KeyFile { required: false, ..KeyFile::new(path) }).collect(),
            false => USUAL_KEYS
                .iter()
                .map(|name| KeyFile { required: false, ..KeyFile::new(self.home.join(".ssh").join(name)) })
                .collect(),
        };
        if let Some(socket) = socket {
            let only = match found.identities_only {
                Some(true) => keys.iter().map(|key| with_suffix(&key.path, ".pub")).collect(),
                _ => Vec::new(),
            };
            auth.push(Auth::Agent { socket: Some(socket), only });
        }
        auth.extend(keys.into_iter().map(Auth::Key));
        auth
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

fn policy(found: &HostConfig) -> HostKeyPolicy {
    let mut files = usual_files();
    if let Some(user_files) = &found.user_known_hosts_files {
        files.retain(|file| file.starts_with("/etc/ssh"));
        files.splice(0..0, user_files.iter().cloned());
    }
    match found.strict_host_key_checking {
        None | Some(StrictHostKeyChecking::Yes) => HostKeyPolicy::Strict(files),
        Some(StrictHostKeyChecking::AcceptNew | StrictHostKeyChecking::No) => HostKeyPolicy::AcceptNew(files),
    }
}

fn timeouts(found: &HostConfig) -> Timeouts {
    let usual = Timeouts::default();
    let seconds = |value: Option<u64>, usual| value.filter(|s| *s > 0).map_or(usual, Duration::from_secs);
    Timeouts {
        connect: seconds(found.connect_timeout_s, usual.connect),
        keepalive: seconds(found.server_alive_interval_s, usual.keepalive),
        ..usual
    }
}

fn set<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

fn number<T: std::str::FromStr>(at: &At, keyword: &str, value: &str) -> Result<T, Error> {
    value.parse().map_err(|_| at.error(format!("`{keyword} {value}`: a number is expected")))
}

fn yes_or_no(at: &At, keyword: &str, value: &str) -> Result<bool, Error> {
    match value.to_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(at.error(format!("`{keyword} {value}`: yes or no is expected"))),
    }
}

fn strictness(at: &At, value: &str) -> Result<StrictHostKeyChecking, Error> {
    match value.to_lowercase().as_str() {
        "yes" | "true" | "ask" => Ok(StrictHostKeyChecking::Yes),
        "accept-new" => Ok(StrictHostKeyChecking::AcceptNew),
        "no" | "false" | "off" => Ok(StrictHostKeyChecking::No),
        _ => Err(at.error(format!("`StrictHostKeyChecking {value}`: yes, accept-new or no is expected"))),
    }
}

fn jumps(value: &str) -> Vec<String> {
    if value.eq_ignore_ascii_case("none") {
        return Vec::new();
    }
    value.split(',').map(|jump| jump.trim().to_owned()).filter(|jump| !jump.is_empty()).collect()
}

/// `[user@]host[:port]`, also as `ssh://…` and with `[v6::address]`.
fn split_jump(jump: &str) -> Option<(Option<&str>, &str, Option<u16>)> {
    let rest = jump.strip_prefix("ssh://").unwrap_or(jump);
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    if let Some(bracketed) = rest.strip_prefix('[') {
        let (host, port) = bracketed.split_once(']')?;
        return match port.strip_prefix(':') {
            Some(port) => Some((user, host, Some(port.parse().ok()?))),
            None if port.is_empty() => Some((user, host, None)),
            None => None,
        };
    }
    match rest.split_once(':') {
        Some((host, port)) if !port.contains(':') => Some((user, host, Some(port.parse().ok()?))),
        _ if rest.is_empty() => None,
        _ => Some((user, rest, None)),
    }
}

fn bad_jump(jump: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidInput, format!("ProxyJump `{jump}` is not [user@]host[:port]"))
}

fn local_user() -> String {
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "root".to_owned())
}
