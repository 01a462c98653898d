//! The class of service that requests and limits come to.
//!
//! API server and agent both ask here: the class is written once into a pod's status, refused when it changes, and
//! decides the cgroup that the pod runs in.

/// The class of service of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Qos {
    /// Limited in processor and memory, and as much requested.
    Guaranteed,
    /// Something is requested or limited.
    Burstable,
    /// Nothing is.
    BestEffort,
}

impl Qos {
    /// As it is written in `status.qosClass`.
    pub fn name(self) -> &'static str {
        match self {
            Qos::Guaranteed => "Guaranteed",
            Qos::Burstable => "Burstable",
            Qos::BestEffort => "BestEffort",
        }
    }

    /// The class of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort].into_iter().find(|class| class.name() == name)
    }
}

/// What is asked of one resource, in thousandths; `None` where it is not named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// The least.
    pub request: Option<i128>,
    /// The most.
    pub limit: Option<i128>,
}

impl Amount {
    /// Zero asks for nothing; a limit without a request requests as much.
    fn asked(self) -> (Option<i128>, Option<i128>) {
        let positive = |amount: Option<i128>| amount.filter(|amount| *amount > 0);
        (positive(self.request.or(self.limit)), positive(self.limit))
    }
}

/// The processor and the memory of one `resources`, the only resources that the class looks at.
pub type Claim = [Amount; 2];

/// The class of a pod: of `pod`, its own `resources` (KEP-2837), where [`counts`] says so, else of its containers',
/// init containers included.
pub fn class(pod: Option<Claim>, containers: impl IntoIterator<Item = Claim>) -> Qos {
    let claims: Vec<Claim> = match pod {
        Some(claim) => vec![claim],
        None => containers.into_iter().collect(),
    };
    let (mut any, mut guaranteed) = (false, true);
    for (request, limit) in claims.iter().flatten().map(|amount| amount.asked()) {
        any |= request.is_some() || limit.is_some();
        guaranteed &= limit.is_some() && request == limit;
    }
    match (any, guaranteed) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

/// Whether a pod's own `resources` that name these replace its containers': only some can be given to a whole pod.
pub fn counts<'a>(names: impl IntoIterator<Item = &'a str>) -> bool {
    names.into_iter().any(|name| matches!(name, "cpu" | "memory") || name.starts_with("hugepages-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_follows_what_is_asked() {
        let none = Amount::default();
        let of = |request: i128, limit: i128| Amount { request: Some(request), limit: Some(limit) };
        let request = |request: i128| Amount { request: Some(request), limit: None };
        let limit = |limit: i128| Amount { request: None, limit: Some(limit) };
        let cases: [(Option<Claim>, Vec<Claim>, Qos); 11] = [
            (None, vec![], Qos::BestEffort),
            (None, vec![[none, none]], Qos::BestEffort),
            (None, vec![[request(0), limit(0)]], Qos::BestEffort),
            (None, vec![[of(1, 1), of(2, 2)]], Qos::Guaranteed),
            (None, vec![[limit(1), limit(2)]], Qos::Guaranteed),
            (None, vec![[limit(1), none]], Qos::Burstable),
            (None, vec![[of(1, 2), of(2, 2)]], Qos::Burstable),
            (None, vec![[of(1, 1), of(2, 2)], [none, none]], Qos::Burstable),
            (Some([limit(1), limit(2)]), vec![[none, none]], Qos::Guaranteed),
            (Some([request(1), none]), vec![[of(1, 1), of(2, 2)]], Qos::Burstable),
            (Some([none, none]), vec![[of(1, 1), of(2, 2)]], Qos::BestEffort),
        ];
        for (pod, containers, expected) in cases {
            assert_eq!(class(pod, containers.clone()), expected, "{pod:?} {containers:?}");
        }
    }

    #[test]
    fn only_what_a_whole_pod_can_have_replaces_the_containers() {
        assert!(counts(["memory"]) && counts(["example.com/gpu", "hugepages-2Mi"]));
        assert!(!counts([]) && !counts(["example.com/gpu"]));
    }
}
