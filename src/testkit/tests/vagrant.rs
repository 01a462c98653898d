//! The Vagrantfile is valid, and its hosts are those of inventories/vagrant.yaml.

use std::process::Command;

use testkit::tools::repository;

#[test]
fn vagrant_takes_the_vagrantfile() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("vagrant")
        // Neither VirtualBox nor libvirt is needed to read the file.
        .args(["validate", "--ignore-provider"])
        .current_dir(repository())
        .env("VAGRANT_HOME", folder.path().join("home"))
        .env("VAGRANT_DOTFILE_PATH", folder.path().join("dot"))
        .env("VAGRANT_CHECKPOINT_DISABLE", "1")
        .output()
        .expect("vagrant is missing: apt-get install vagrant");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("validated successfully"), "{said}");
    for host in ["cp1", "w1", "w2"] {
        assert!(said.contains(host), "{said}");
    }
}

#[test]
fn the_vagrantfile_and_its_inventory_name_the_same_hosts() {
    let text = std::fs::read_to_string(repository().join("Vagrantfile")).unwrap();
    let cluster = inventory::load(repository().join("inventories/vagrant.yaml")).unwrap();
    assert_eq!(cluster.hosts.len(), 3);
    for host in &cluster.hosts {
        let line = format!("\"{}\" => \"{}\",", host.name, host.address);
        assert!(text.contains(&line), "{line} is not in the Vagrantfile");
    }
}
