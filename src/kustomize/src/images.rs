//! `images`: new names, tags and digests for container images.

use regex::Regex;
use serde_json::Value;

use crate::Error;
use crate::kustomization::{Image, Kustomization, refused};
use crate::resource::Resource;

/// Rewrites the images of every object.
pub(crate) fn run(kustomization: &Kustomization, resources: &mut [Resource]) -> Result<(), Error> {
    for (index, image) in kustomization.images.iter().enumerate() {
        let pattern = pattern(&image.name)
            .map_err(|error| refused(&kustomization.file, &format!("images[{index}].name"), error.to_string()))?;
        for resource in resources.iter_mut().filter(|resource| resource.id().kind != "CustomResourceDefinition") {
            rewrite_within(&mut resource.object, &pattern, image);
        }
    }
    Ok(())
}

/// An image by its name, with any tag and digest.
fn pattern(name: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!(r"^{name}(:[a-zA-Z0-9_.{{}}-]*)?(@[a-zA-Z0-9]+([.+_-][a-zA-Z0-9]+)*:[a-zA-Z0-9_.{{}}-]*)?$"))
}

/// Containers are known by the name of their list wherever it is, so that custom resources with pods in them are
/// served too.
fn rewrite_within(value: &mut Value, pattern: &Regex, image: &Image) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(|value| rewrite_within(value, pattern, image)),
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                let pointer = match name.as_str() {
                    "containers" | "initContainers" => Some("/image"),
                    "volumes" => Some("/image/reference"),
                    _ => None,
                };
                if let (Some(pointer), Value::Array(list)) = (pointer, &mut *value) {
                    for reference in list.iter_mut().filter_map(|element| element.pointer_mut(pointer)) {
                        rewrite(reference, pattern, image);
                    }
                }
                rewrite_within(value, pattern, image);
            }
        }
        _ => {}
    }
}

fn rewrite(reference: &mut Value, pattern: &Regex, image: &Image) {
    if let Value::String(text) = reference
        && pattern.is_match(text)
    {
        *text = renamed(text, image);
    }
}

fn renamed(text: &str, image: &Image) -> String {
    let (name, tag, digest) = split(text);
    let name = if image.new_name.is_empty() { name } else { &image.new_name };
    let (tag, digest) = match (image.new_tag.as_str(), image.digest.as_str()) {
        ("", "") if !image.tag_suffix.is_empty() => (format!("{tag}{}", image.tag_suffix), ""),
        ("", "") => (tag.to_string(), digest),
        (tag, digest) => (tag.to_string(), digest),
    };
    let mut text = name.to_string();
    if !tag.is_empty() {
        text = format!("{text}:{tag}");
    }
    if !digest.is_empty() {
        text = format!("{text}@{digest}");
    }
    text
}

/// `[host[:port]/]name[:tag][@digest]` into name, tag and digest.
fn split(text: &str) -> (&str, &str, &str) {
    let (rest, digest) = text.split_once('@').unwrap_or((text, ""));
    let name_start = rest.find('/').unwrap_or(0);
    match rest[name_start..].find(':') {
        Some(at) => (&rest[..name_start + at], &rest[name_start + at + 1..], digest),
        None => (rest, "", digest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_rewritten_part_by_part() {
        let image = |new_name: &str, new_tag: &str, digest: &str| Image {
            name: "nginx".to_string(),
            new_name: new_name.to_string(),
            new_tag: new_tag.to_string(),
            digest: digest.to_string(),
            ..Image::default()
        };
        let cases = [
            ("nginx", image("", "1.2", ""), "nginx:1.2"),
            ("nginx:1.0", image("", "1.2", ""), "nginx:1.2"),
            ("nginx:1.0@sha256:aa", image("", "1.2", ""), "nginx:1.2"),
            ("nginx:1.0", image("host:5000/web", "", ""), "host:5000/web:1.0"),
            ("nginx:1.0", image("", "", "sha256:bb"), "nginx@sha256:bb"),
            ("nginx:1.0", image("web", "2", "sha256:bb"), "web:2@sha256:bb"),
            ("other/nginx:1.0", image("web", "2", ""), "other/nginx:1.0"),
            ("nginx-x", image("web", "2", ""), "nginx-x"),
        ];
        for (text, image, expected) in cases {
            let mut reference = Value::from(text);
            rewrite(&mut reference, &pattern(&image.name).unwrap(), &image);
            assert_eq!(reference, expected, "{text}");
        }
        assert_eq!(split("host:5000/a/b:1@sha256:c"), ("host:5000/a/b", "1", "sha256:c"));
    }
}
