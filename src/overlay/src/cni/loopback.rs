//! The `loopback` plugin, which container runtimes call for every sandbox beside the configured ones.

use datapath::Netlink;
use datapath::netns::Netns;

use super::protocol::{Command, Failure, Request, loopback_answer, version_answer};

/// Its `type` in the configuration.
pub const TYPE: &str = "loopback";

/// Brings the sandbox's loopback up; the kernel takes it away with the namespace.
pub fn answer(request: &Request) -> Result<String, Failure> {
    match request.command {
        Command::Version => Ok(version_answer()),
        Command::Add => {
            bring_up(request)?;
            Ok(loopback_answer(request))
        }
        Command::Check => bring_up(request).map(|()| String::new()),
        Command::Del | Command::Status | Command::Gc => Ok(String::new()),
    }
}

fn bring_up(request: &Request) -> Result<(), Failure> {
    Netns::open(&request.netns)?.run(|| async {
        let inside = Netlink::open()?;
        let link = inside.existing_link(&request.ifname).await?;
        inside.set_up(link.index).await
    })?;
    Ok(())
}
