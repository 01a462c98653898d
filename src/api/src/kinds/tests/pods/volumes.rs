//! Volumes, mounts and devices.

use super::*;

/// Refuses volumes with one source; each error begins after `spec.volumes[0].`.
fn refused_sources(cases: &[(Value, &[&str])]) {
    for (source, expected) in cases {
        let mut volume = source.clone();
        volume["name"] = json!("v");
        let errors = create("pods", pod(json!({}), json!({"volumes": [volume]}))).1;
        let expected: Vec<String> = expected.iter().map(|error| format!("spec.volumes[0].{error}")).collect();
        assert_eq!(errors, expected, "{source}");
    }
}

#[test]
fn sources_of_volumes() {
    let long = "a".repeat(64);
    refused_sources(&[
        (
            json!({"emptyDir": {"sizeLimit": "-1"}}),
            &["emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity"],
        ),
        (
            json!({"hostPath": {"path": "/a/../b"}}),
            &["hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"],
        ),
        (
            json!({"hostPath": {"path": "/a", "type": "Disk"}}),
            &["hostPath.type: Unsupported value: \"Disk\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \
               \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\""],
        ),
        (
            json!({"gitRepo": {"repository": "r", "directory": "/d"}}),
            &["gitRepo.directory: Invalid value: \"/d\": must be a relative path"],
        ),
        (
            json!({"awsElasticBlockStore": {"volumeID": "v", "partition": 256}}),
            &["awsElasticBlockStore.partition: Invalid value: 256: must be between 0 and 255, inclusive"],
        ),
        (
            json!({"nfs": {"server": "s"}}),
            &["nfs.path: Required value", "nfs.path: Invalid value: \"\": must be an absolute path"],
        ),
        (json!({"rbd": {"image": "i"}}), &["rbd.monitors: Required value"]),
        (json!({"cephfs": {}}), &["cephfs.monitors: Required value"]),
        (json!({"cinder": {"volumeID": "v", "secretRef": {}}}), &["cinder.secretRef.name: Required value"]),
        (json!({"flexVolume": {}}), &["flexVolume.driver: Required value"]),
        (
            json!({"flexVolume": {"driver": "d", "options": {"kubernetes.io/x": "1"}}}),
            &[
                "flexVolume.options[kubernetes.io/x]: Invalid value: \"kubernetes.io/x\": kubernetes.io and k8s.io namespaces are reserved",
            ],
        ),
        (json!({"flocker": {}}), &["flocker: Required value: one of datasetName and datasetUUID is required"]),
        (
            json!({"flocker": {"datasetName": "a/b"}}),
            &["flocker.datasetName: Invalid value: \"a/b\": must not contain '/'"],
        ),
        (json!({"fc": {}}), &["fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both"]),
        (json!({"fc": {"targetWWNs": ["w"]}}), &["fc.lun: Required value: lun is required if targetWWNs is specified"]),
        (
            json!({"fc": {"targetWWNs": ["w"], "wwids": ["i"], "lun": 1}}),
            &["fc.targetWWNs: Invalid value: [\"w\"]: targetWWNs and wwids can not be specified simultaneously"],
        ),
        (
            json!({"iscsi": {"targetPortal": "p", "iqn": "abc", "lun": 256}}),
            &[
                "iscsi.iqn: Invalid value: \"abc\": must be valid format starting with iqn, eui, or naa",
                "iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
            ],
        ),
        (
            json!({"iscsi": {"targetPortal": "p", "iqn": "iqn.20-01.a:b", "lun": 0}}),
            &["iscsi.iqn: Invalid value: \"iqn.20-01.a:b\": must be valid format"],
        ),
        (json!({"iscsi": {"targetPortal": "p", "iqn": "iqn.2020-01.com.a:b", "lun": 0}}), &[]),
        (
            json!({"iscsi": {"targetPortal": "p", "iqn": "eui.0123456789abcdef", "lun": 0, "chapAuthSession": true}}),
            &["iscsi.secretRef: Required value"],
        ),
        (
            json!({"iscsi": {"targetPortal": long, "iqn": "naa.0123456789abcdef0123456789abcdef", "lun": 0, "initiatorName": "iqn.2020-01.com.a:b"}}),
            &[
                "iscsi: Invalid value: \"v\": Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.",
            ],
        ),
        (
            json!({"quobyte": {"volume": "v"}}),
            &["quobyte.registry: Required value: must be a host:port pair or multiple pairs separated by commas"],
        ),
        (
            json!({"quobyte": {"volume": "v", "registry": "a"}}),
            &["quobyte.registry: Invalid value: \"a\": must be a host:port pair or multiple pairs separated by commas"],
        ),
        (json!({"photonPersistentDisk": {}}), &["photonPersistentDisk.pdID: Required value"]),
        (
            json!({"azureDisk": {"diskName": "d", "diskURI": "x", "kind": "Managed"}}),
            &["azureDisk.diskURI: Unsupported value: \"x\": supported values: \
               \"/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}\""],
        ),
        (
            json!({"storageos": {"volumeName": "A"}}),
            &[
                "storageos.volumeName: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            ],
        ),
        (
            json!({"scaleIO": {"secretRef": {}}}),
            &[
                "scaleIO.gateway: Required value",
                "scaleIO.system: Required value",
                "scaleIO.volumeName: Required value",
            ],
        ),
        (
            json!({"csi": {"driver": "d", "nodePublishSecretRef": {}}}),
            &["csi.nodePublishSecretRef.name: Required value"],
        ),
        (json!({"image": {}}), &["image.reference: Required value"]),
        (
            json!({"secret": {"secretName": "s", "defaultMode": 512}}),
            &["secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"],
        ),
        (
            json!({"configMap": {"name": "c", "items": [{"key": "k", "path": "../p"}]}}),
            &["configMap.items[0].path: Invalid value: \"../p\": must not contain '..'"],
        ),
        (
            json!({"projected": {"sources": [{"secret": {"name": "a", "items": [{"key": "k", "path": "p"}]}},
                {"configMap": {"name": "b", "items": [{"key": "k", "path": "p"}]}}]}}),
            &["projected: Invalid value: \"b\": conflicting duplicate paths"],
        ),
        (
            json!({"ephemeral": {"volumeClaimTemplate": {"metadata": {"name": "n"}, "spec": {"accessModes": ["ReadWriteOnce"]}}}}),
            &[
                "ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set",
                "ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value",
            ],
        ),
    ]);
}

#[test]
fn claims_of_volumes_and_tokens() {
    let claim = json!({"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}});
    refused(&[
        (
            json!({}),
            json!({"volumes": [{"name": "v", "ephemeral": claim}, {"name": "w", "persistentVolumeClaim": {"claimName": "x-v"}}]}),
            &[
                "spec.volumes[1].persistentVolumeClaim.claimName: Invalid value: \"x-v\": must not reference a PVC that gets created for an ephemeral volume",
            ],
        ),
        (
            json!({}),
            json!({"volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}),
            &[
                "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set",
            ],
        ),
        (
            json!({}),
            json!({"serviceAccountName": "s", "volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "../t", "expirationSeconds": 1}}]}}]}),
            &[
                "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
                "spec.volumes[0].projected.sources[0].serviceAccountToken.path: Invalid value: \"../t\": must not contain '..'",
            ],
        ),
        // What is wrong with a volume makes it none.
        (
            json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
            json!({"volumes": [{"name": "v", "secret": {}}]}),
            &[
                "spec.volumes[0].secret.secretName: Required value",
                "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
            ],
        ),
    ]);
}

#[test]
fn mounts_and_devices() {
    let volumes =
        json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "p", "persistentVolumeClaim": {"claimName": "c"}}]});
    let mount = |fields: Value| {
        let mut mount = json!({"name": "v", "mountPath": "/v"});
        for (key, value) in fields.as_object().into_iter().flatten() {
            mount[key] = value.clone();
        }
        json!({"volumeMounts": [mount]})
    };
    let at = "spec.containers[0].volumeMounts[0]";
    refused(&[
        (
            mount(json!({"subPath": "/a"})),
            volumes.clone(),
            &[&format!("{at}.subPath: Invalid value: \"/a\": must be a relative path")],
        ),
        (
            mount(json!({"subPath": "a", "subPathExpr": "b"})),
            volumes.clone(),
            &[&format!("{at}.subPathExpr: Invalid value: \"b\": subPathExpr and subPath are mutually exclusive")],
        ),
        (
            mount(json!({"mountPropagation": "Bidirectional"})),
            volumes.clone(),
            &[&format!(
                "{at}.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers"
            )],
        ),
        (
            mount(json!({"recursiveReadOnly": "Enabled", "mountPropagation": "HostToContainer"})),
            volumes.clone(),
            &[
                &format!("{at}.recursiveReadOnly: Forbidden: may only be specified when readOnly is true"),
                &format!(
                    "{at}.recursiveReadOnly: Forbidden: may only be specified when mountPropagation is None or not specified"
                ),
            ],
        ),
        (
            mount(json!({"recursiveReadOnly": "Always"})),
            volumes.clone(),
            &[&format!(
                "{at}.recursiveReadOnly: Unsupported value: \"Always\": supported values: \"Disabled\", \"Enabled\", \"IfPossible\""
            )],
        ),
        (
            json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v"}]}),
            volumes.clone(),
            &["spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/v\": must be unique"],
        ),
        (
            json!({"volumeMounts": [{"name": "p", "mountPath": "/p"}], "volumeDevices": [{"name": "p", "devicePath": "/p"}]}),
            volumes.clone(),
            &[
                &format!("{at}.name: Invalid value: \"p\": must not already exist in volumeDevices"),
                &format!("{at}.mountPath: Invalid value: \"/p\": must not already exist as a path in volumeDevices"),
                "spec.containers[0].volumeDevices[0].name: Invalid value: \"p\": must not already exist in volumeMounts",
                "spec.containers[0].volumeDevices[0].devicePath: Invalid value: \"/p\": must not already exist as a path in volumeMounts",
            ],
        ),
        (
            json!({"volumeDevices": [{"name": "p", "devicePath": "/../p"}, {"name": "p", "devicePath": "/q"}]}),
            volumes.clone(),
            &[
                "spec.containers[0].volumeDevices[0].devicePath: Invalid value: \"/../p\": can not contain backsteps ('..')",
                "spec.containers[0].volumeDevices[1].name: Invalid value: \"p\": must be unique",
            ],
        ),
        (
            json!({"volumeDevices": [{"name": "v", "devicePath": "/v"}]}),
            volumes,
            &[
                "spec.containers[0].volumeDevices[0].name: Invalid value: \"v\": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            ],
        ),
    ]);
}
