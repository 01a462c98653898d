//! Which commit a name means on the far side. Nothing is asked for here.

use git2::Oid;

/// A reference as the far side has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A branch, tag or full name, and what it points to there.
    Reference(String, Oid),
    /// A commit, which the far side does not list.
    Commit(Oid),
}

/// What `wanted` (a branch, tag, full reference name or commit) means among the `listed` references. A branch goes
/// before a tag of the same name.
pub(crate) fn target(wanted: &str, listed: &[(String, Oid)]) -> Option<Target> {
    let candidates = [wanted.to_owned(), format!("refs/heads/{wanted}"), format!("refs/tags/{wanted}")];
    for (index, candidate) in candidates.iter().enumerate() {
        // Only a whole name or HEAD stands for itself.
        if index == 0 && !(candidate.starts_with("refs/") || candidate == "HEAD") {
            continue;
        }
        if let Some((name, id)) = listed.iter().find(|(name, _)| name == candidate) {
            return Some(Target::Reference(name.clone(), *id));
        }
    }
    let is_id = wanted.len() == 40 && wanted.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| Oid::from_str(wanted).ok().map(Target::Commit)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_branches_then_tags_then_commits() {
        let id = |digit: &str| Oid::from_str(&digit.repeat(40)).unwrap();
        let listed = [
            ("HEAD", "1"),
            ("refs/heads/main", "1"),
            ("refs/heads/v1", "2"),
            ("refs/tags/v1", "3"),
            ("refs/tags/v2", "4"),
        ]
        .map(|(name, digit)| (name.to_owned(), id(digit)));
        let reference = |name: &str, digit| Some(Target::Reference(name.to_owned(), id(digit)));
        assert_eq!(target("main", &listed), reference("refs/heads/main", "1"));
        assert_eq!(target("HEAD", &listed), reference("HEAD", "1"));
        assert_eq!(target("v1", &listed), reference("refs/heads/v1", "2"));
        assert_eq!(target("refs/tags/v1", &listed), reference("refs/tags/v1", "3"));
        assert_eq!(target("v2", &listed), reference("refs/tags/v2", "4"));
        assert_eq!(target(&"5".repeat(40), &listed), Some(Target::Commit(id("5"))));
        assert_eq!(target("gone", &listed), None);
        assert_eq!(target("12345", &listed), None);
    }
}
