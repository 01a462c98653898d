//! Calls of the CNI plugin: variables of the environment and the configuration on standard input. What is refused is so
//! as the specification has it, and a sandbox's name is harmless in names of files and links.
#![no_main]

use libfuzzer_sys::fuzz_target;
use overlay::cni;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some([command, container, netns, ifname, input]) = fuzz::parts::<5>(data) else { return };
    let variable = |name: &str| {
        let value = match name {
            "CNI_COMMAND" => command,
            "CNI_CONTAINERID" => container,
            "CNI_NETNS" => netns,
            "CNI_IFNAME" => ifname,
            _ => return None,
        };
        Some(value.to_string())
    };
    match cni::check(variable, input) {
        Ok((container, _, _)) => {
            assert!(container.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)));
        }
        Err(object) => {
            let object: Value = serde_json::from_str(&object).expect("an error is JSON");
            assert!(object["code"].as_u64().is_some_and(|code| code > 0) && object["msg"].is_string());
        }
    }
});
