//! From files to objects: kustomizations where there are some, plain manifests elsewhere. Pure.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use git::Folder;
use kustomize::Tree;
use machinery::strict::{self, Booleans};
use serde_json::Value;

use crate::Error;

/// An object and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The file, or the folder of the kustomization.
    pub file: String,
    /// The object as it is to be applied.
    pub object: Value,
}

/// What rendering came to.
pub struct Rendering {
    /// The objects, or the first thing that is wrong.
    pub result: Result<Vec<Rendered>, Error>,
    /// Folders that were looked into and are not read yet: with them rendering may come to something else.
    pub more: BTreeSet<Folder>,
}

/// Renders the manifests below `folder`. `files` has everything that is in `read`.
pub fn render(files: &BTreeMap<String, Vec<u8>>, folder: &str, read: &BTreeSet<Folder>) -> Rendering {
    let tree = Watched { files, read, more: RefCell::default() };
    let mut rendered = Vec::new();
    let is_kustomization = kustomize::is_kustomization(&tree, folder);
    let result = tree.folder(folder, &mut rendered).and_then(|()| {
        if rendered.is_empty() && !is_kustomization {
            // Rather a moved folder than the wish to remove everything.
            let folder = if folder.is_empty() { "the repository" } else { folder };
            let remedy = "to remove everything, put a kustomization.yaml with `resources: []` there";
            return Err(Error::Render(format!("{folder} holds no manifests; {remedy}")));
        }
        Ok(rendered)
    });
    Rendering { result, more: tree.more.into_inner() }
}

/// Files, and a note of what was looked for elsewhere.
struct Watched<'a> {
    files: &'a BTreeMap<String, Vec<u8>>,
    read: &'a BTreeSet<Folder>,
    more: RefCell<BTreeSet<Folder>>,
}

impl Tree for Watched<'_> {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let found = self.files.get(path).cloned();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if found.is_none() && !self.read.iter().any(|read| covers(read, folder)) {
            self.more.borrow_mut().insert(Folder { path: folder.to_owned(), recursive: false });
        }
        found
    }
}

fn covers(read: &Folder, folder: &str) -> bool {
    let inner = folder.strip_prefix(&read.path).is_some_and(|rest| read.path.is_empty() || rest.starts_with('/'));
    read.path == folder || (read.recursive && inner)
}

impl Watched<'_> {
    fn folder(&self, folder: &str, rendered: &mut Vec<Rendered>) -> Result<(), Error> {
        if kustomize::is_kustomization(self, folder) {
            let objects = kustomize::build(self, folder).map_err(|error| Error::Render(stdx::error::chain(&error)))?;
            let file = if folder.is_empty() { "." } else { folder };
            rendered.extend(objects.into_iter().map(|object| Rendered { file: file.to_owned(), object }));
            return Ok(());
        }
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut folders = BTreeSet::new();
        for (path, bytes) in self.files.range(prefix.clone()..) {
            let Some(name) = path.strip_prefix(&prefix) else { break };
            match name.split_once('/') {
                // Folders such as .github hold no manifests.
                _ if name.starts_with('.') => {}
                Some((inner, _)) => {
                    folders.insert(format!("{prefix}{inner}"));
                }
                None if is_manifest(name) => {
                    let objects = parse(path, bytes)?;
                    rendered.extend(objects.into_iter().map(|object| Rendered { file: path.clone(), object }));
                }
                None => {}
            }
        }
        folders.iter().try_for_each(|folder| self.folder(folder, rendered))
    }
}

/// Whether a file of this name holds manifests.
pub fn is_manifest(path: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|end| path.ends_with(end))
}

/// The objects of a file; lists are taken apart.
fn parse(file: &str, bytes: &[u8]) -> Result<Vec<Value>, Error> {
    let wrong = |message: String| Error::Render(format!("{file}: {message}"));
    let documents = strict::decode_yaml_documents(bytes, strict::MAX_BYTES, Booleans::Yaml11)
        .map_err(|error| wrong(stdx::error::chain(&error)))?;
    let mut objects = Vec::new();
    for document in documents {
        if let Some(message) = document.messages().next() {
            return Err(wrong(message));
        }
        match document.value {
            Value::Null => {}
            Value::Object(mut fields) => {
                let is_list = fields.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
                match fields.get_mut("items") {
                    Some(Value::Array(items)) if is_list => objects.append(items),
                    _ => objects.push(Value::Object(fields)),
                }
            }
            _ => return Err(wrong("a document is not an object".to_owned())),
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use machinery::meta;

    fn files(files: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
    }

    fn everything() -> BTreeSet<Folder> {
        BTreeSet::from([Folder { path: String::new(), recursive: true }])
    }

    fn map(name: &str) -> String {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
    }

    fn names(rendering: Rendering) -> Vec<String> {
        let rendered = rendering.result.unwrap();
        rendered.iter().map(|one| format!("{} {}", one.file, meta::name(&one.object))).collect()
    }

    #[test]
    fn plain_manifests_below_a_folder_are_taken_and_others_are_not() {
        let two = format!("{}---\n{}---\n", map("b1"), map("b2"));
        let list = r#"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}]}"#;
        let tree = files(&[
            ("app/a.yaml", &map("a")),
            ("app/deep/b.yml", &two),
            ("app/c.json", list),
            ("app/README.md", "# no manifest"),
            ("app/.hidden/x.yaml", "]"),
            ("application/other.yaml", &map("other")),
        ]);
        let found = names(render(&tree, "app", &everything()));
        assert_eq!(found, ["app/a.yaml a", "app/c.json c", "app/deep/b.yml b1", "app/deep/b.yml b2"]);
        assert_eq!(names(render(&tree, "", &everything())).len(), 5);
    }

    #[test]
    fn a_folder_with_a_kustomization_is_rendered_by_it() {
        let tree = files(&[
            ("a.yaml", &map("plain")),
            ("app/kustomization.yaml", "namePrefix: x-\nresources: [in.yaml]\n"),
            ("app/in.yaml", &map("in")),
            ("app/out.yaml", &map("out")),
        ]);
        assert_eq!(names(render(&tree, "", &everything())), ["a.yaml plain", "app x-in"]);
    }

    #[test]
    fn what_lies_beside_the_folder_is_asked_for() {
        let mut tree = files(&[("apps/web/kustomization.yaml", "resources: [../../base]\n")]);
        let mut read = BTreeSet::from([Folder { path: "apps/web".into(), recursive: true }]);
        let first = render(&tree, "apps/web", &read);
        assert!(first.result.is_err());
        assert!(first.more.iter().any(|folder| folder.path == "base"), "{:?}", first.more);
        read.extend(first.more);
        tree.extend(files(&[("base/kustomization.yaml", "resources: [a.yaml]\n"), ("base/a.yaml", &map("a"))]));
        let second = render(&tree, "apps/web", &read);
        assert!(second.more.is_empty(), "{:?}", second.more);
        assert_eq!(names(second), ["apps/web a"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_file() {
        for (text, expected) in [
            ("a: [", "app/x.yaml: "),
            ("- a\n", "app/x.yaml: a document is not an object"),
            ("kind: A\nkind: B\n", "app/x.yaml: duplicate field"),
        ] {
            let error = render(&files(&[("app/x.yaml", text)]), "app", &everything()).result.unwrap_err().to_string();
            assert!(error.starts_with("app/x.yaml: ") && error.contains(expected), "{text}: {error}");
        }
    }
}
