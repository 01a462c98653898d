//! Kustomizations with the files beside them: rendering leaves the tree at no time, and twice is the same.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some([kustomization, a, b, patch]) = fuzz::parts::<4>(data) else { return };
    let tree: BTreeMap<String, Vec<u8>> = [
        ("kustomization.yaml", kustomization),
        ("a.yaml", a),
        ("base/kustomization.yaml", "resources: [b.yaml]"),
        ("base/b.yaml", b),
        ("patch.yaml", patch),
    ]
    .map(|(path, text)| (path.to_string(), text.as_bytes().to_vec()))
    .into();
    assert!(kustomize::is_kustomization(&tree, ""));
    match kustomize::build(&tree, "") {
        Ok(objects) => assert_eq!(kustomize::build(&tree, "").expect("it was rendered"), objects),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
