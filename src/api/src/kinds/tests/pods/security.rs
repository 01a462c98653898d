//! Security contexts and operating systems.

use super::*;

#[test]
fn security() {
    let context = |context: Value| json!({"securityContext": context});
    let user = |name: &str| context(json!({"windowsOptions": {"runAsUserName": name}}));
    let at = "spec.containers[0].securityContext";
    refused(&[
        (
            context(json!({"seccompProfile": {}})),
            json!({}),
            &[&format!("{at}.seccompProfile.type: Required value: type is required when seccompProfile is set")],
        ),
        (
            context(json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "/p"}})),
            json!({}),
            &[&format!("{at}.seccompProfile.localhostProfile: Invalid value: \"/p\": must be a relative path")],
        ),
        (
            context(json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": " p"}})),
            json!({}),
            &[&format!(
                "{at}.appArmorProfile.localhostProfile: Invalid value: \" p\": must not be padded with whitespace"
            )],
        ),
        (
            context(json!({"appArmorProfile": {"type": "Unconfined", "localhostProfile": "p"}})),
            json!({}),
            &[&format!(
                "{at}.appArmorProfile.localhostProfile: Invalid value: \"p\": can only be set when AppArmor type is Localhost"
            )],
        ),
        (
            context(json!({"procMount": "Unmasked"})),
            json!({}),
            &[&format!("{at}.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`")],
        ),
        (context(json!({"procMount": "Unmasked"})), json!({"hostUsers": false}), &[]),
        (
            json!({}),
            json!({"hostUsers": false, "hostPID": true}),
            &["spec.hostPID: Forbidden: when `pod.Spec.HostUsers` is false"],
        ),
        (
            json!({}),
            json!({"hostNetwork": true, "securityContext": {"sysctls": [{"name": "net.a", "value": "1"}]}}),
            &[
                "spec.securityContext.sysctls[0].name: Invalid value: \"net.a\": may not be specified when 'hostNetwork' is true",
            ],
        ),
        (
            json!({}),
            json!({"hostIPC": true, "securityContext": {"sysctls": [{"name": "kernel/shmmax", "value": "1"}, {"name": "A", "value": "1"}]}}),
            &[
                "spec.securityContext.sysctls[0].name: Invalid value: \"kernel/shmmax\": may not be specified when 'hostIPC' is true",
                "spec.securityContext.sysctls[1].name: Invalid value: \"A\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
            ],
        ),
        (
            user(""),
            json!({}),
            &[&format!(
                "{at}.windowsOptions.runAsUserName: Invalid value: \"\": runAsUserName cannot be an empty string"
            )],
        ),
        (
            user("a\\b\\c"),
            json!({}),
            &[&format!(
                "{at}.windowsOptions.runAsUserName: Invalid value: \"a\\\\b\\\\c\": runAsUserName cannot contain more than one backslash"
            )],
        ),
        (
            user("D\\.."),
            json!({}),
            &[&format!(
                "{at}.windowsOptions.runAsUserName: Invalid value: \"D\\\\..\": runAsUserName's User cannot contain only periods or spaces"
            )],
        ),
        (user("DOMAIN\\user"), json!({}), &[]),
        (
            context(json!({"windowsOptions": {"hostProcess": true}})),
            json!({}),
            &[
                "spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess containers",
            ],
        ),
        (
            context(json!({"windowsOptions": {"hostProcess": false}})),
            json!({"os": {"name": "linux"}}),
            &[&format!("{at}.windowsOptions: Forbidden: windows options cannot be set for a linux pod")],
        ),
        (
            context(json!({"runAsUser": 1})),
            json!({"os": {"name": "windows"}, "hostIPC": true}),
            &[
                "spec.hostIPC: Forbidden: cannot be set for a windows pod",
                &format!("{at}.runAsUser: Forbidden: cannot be set for a windows pod"),
            ],
        ),
        (
            json!({}),
            json!({"os": {"name": "plan9"}}),
            &["spec.os.name: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\""],
        ),
        (json!({}), json!({"os": {}}), &["spec.os.name: Required value: cannot be empty"]),
    ]);
}
