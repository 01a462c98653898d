//! `rkctl node store`: a backup of the embedded store while the server runs, the way back, and a look at all of it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::json;
use store::embedded::{self, Check};

use super::server::DATABASE;
use crate::config::{SERVER_CONFIG, ServerConfiguration};
use crate::{exit, output};

/// Back up, restore and check the embedded store.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy the store into a new file; the server may run.
    Backup {
        /// The new file; only root can read it, since it holds Secrets.
        to: PathBuf,
        #[command(flatten)]
        target: Target,
    },
    /// Put a backup in the store's place; the server must be stopped.
    Restore {
        /// What `backup` made.
        from: PathBuf,
        /// Replace the store that is there; it is kept under another name.
        #[arg(long)]
        overwrite: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Read all of the store or of a backup and name what is wrong; the server may run.
    Check {
        /// A backup; the store itself where none is named.
        file: Option<PathBuf>,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, clap::Args)]
struct Target {
    /// The server's configuration, which says where the store is.
    #[arg(long, default_value = SERVER_CONFIG)]
    config: PathBuf,
    /// How the result is printed.
    #[arg(long, short, value_enum, default_value_t)]
    output: output::Format,
}

impl Target {
    fn database(&self) -> anyhow::Result<PathBuf> {
        let config = ServerConfiguration::load(&self.config)?;
        if config.datastore.etcd.is_some() {
            bail!("{} names an etcd: back it up with `etcdctl snapshot save`", self.config.display());
        }
        Ok(config.data_dir.join(DATABASE))
    }
}

pub fn run(args: Args) -> exit::Answer {
    match args.command {
        Command::Backup { to, target } => {
            let database = target.database()?;
            let check = embedded::backup(&database, &to).context("back up the store")?;
            tell(&target, &format!("backed up to {}: {}\n", to.display(), held(&check)), value(&to, &check))?;
            Ok(exit::DONE)
        }
        Command::Restore { from, overwrite, target } => {
            let database = target.database()?;
            if let Some(folder) = database.parent() {
                make_private_folder(folder)?;
            }
            let restored = embedded::restore(&from, &database, overwrite).context("restore the store")?;
            let mut text = format!("restored {}: {}\n", from.display(), held(&restored.check));
            text += &format!("the store goes on from revision {}\n", restored.revision);
            if let Some(kept) = &restored.kept {
                text += &format!("the store that was there is kept as {}\n", kept.display());
            }
            let mut json = value(&database, &restored.check);
            json["revision"] = restored.revision.into();
            json["kept"] = restored.kept.map(|kept| kept.display().to_string()).into();
            tell(&target, &text, json)?;
            Ok(exit::DONE)
        }
        Command::Check { file, target } => {
            let file = file.map_or_else(|| target.database(), Ok)?;
            let check = embedded::check(&file).context("check the store")?;
            tell(&target, &findings(&file, &check), value(&file, &check))?;
            Ok(if check.wrong.is_empty() { exit::DONE } else { exit::FAILED })
        }
    }
}

fn make_private_folder(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("create {}", folder.display()))
}

fn tell(target: &Target, text: &str, json: serde_json::Value) -> anyhow::Result<()> {
    match target.output {
        output::Format::Text => output::print(text),
        output::Format::Json => output::print_json(&json),
    }
}

fn held(check: &Check) -> String {
    format!("{} keys at revision {}, layout {}", check.keys, check.revision, check.layout)
}

fn findings(file: &Path, check: &Check) -> String {
    if check.wrong.is_empty() {
        return format!("{}: sound, {}\n", file.display(), held(check));
    }
    let mut text = format!("{}: damaged\n", file.display());
    for wrong in &check.wrong {
        text += &format!("  {wrong}\n");
    }
    text + "stop the server and put a backup in its place: rkctl node store restore BACKUP --overwrite\n"
}

fn value(file: &Path, check: &Check) -> serde_json::Value {
    json!({
        "file": file.display().to_string(),
        "layout": check.layout,
        "revision": check.revision,
        "oldestRevision": check.oldest,
        "keys": check.keys,
        "rows": check.rows,
        "wrong": check.wrong,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_the_remedy() {
        let sound = Check { layout: 2, revision: 7, keys: 3, ..Check::default() };
        let path = Path::new("/x/state.db");
        assert_eq!(findings(path, &sound), "/x/state.db: sound, 3 keys at revision 7, layout 2\n");
        let damaged = Check { wrong: vec!["one".to_owned(), "two".to_owned()], ..sound };
        let text = findings(path, &damaged);
        assert!(text.starts_with("/x/state.db: damaged\n  one\n  two\nstop the server"), "{text}");
        assert_eq!(value(path, &damaged)["wrong"], json!(["one", "two"]));
    }
}
