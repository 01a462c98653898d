//! How a server's seats are divided among priority levels: by their shares at first, and by what each wants within
//! what it may lend and borrow (KEP-1040, "Dynamic borrowing").

/// What a level's configuration says of seats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// `nominalConcurrencyShares`.
    pub shares: u32,
    /// `lendablePercent`.
    pub lendable_percent: u32,
    /// `borrowingLimitPercent`; `None` where there is no limit.
    pub borrowing_limit_percent: Option<u32>,
}

/// How many seats a level has, at least and at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// By its shares.
    pub nominal: u32,
    /// With everything lent that it lends.
    pub min: u32,
    /// With everything borrowed that it may.
    pub max: u32,
}

/// What a level wants.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Want {
    /// Its bounds.
    pub bounds: Bounds,
    /// The most that it wanted of late, which nobody takes from it below its nominal number.
    pub high: f64,
    /// What it is likely to want.
    pub smooth: f64,
}

/// The division of seats.
#[derive(Debug, Clone, PartialEq)]
pub struct Division {
    /// One a level, in the order of the wants.
    pub seats: Vec<u32>,
    /// Which part of what it wants a level gets that no bound holds.
    pub fair_fraction: f64,
}

/// The bounds of levels that divide `total` seats.
pub fn bounds(total: u32, claims: &[Claim]) -> Vec<Bounds> {
    let sum: u64 = claims.iter().map(|claim| u64::from(claim.shares)).sum();
    let part = |of: u32, percent: u32| (f64::from(of) * f64::from(percent) / 100.0).round() as u32;
    claims
        .iter()
        .map(|claim| {
            let exact = u64::from(total) * u64::from(claim.shares);
            let nominal = u32::try_from(exact.div_ceil(sum.max(1))).unwrap_or(u32::MAX);
            let borrowed = claim.borrowing_limit_percent.map_or(total, |percent| part(nominal, percent));
            let min = nominal - part(nominal, claim.lendable_percent).min(nominal);
            Bounds { nominal, min, max: nominal.saturating_add(borrowed) }
        })
        .collect()
}

/// Divides `total` seats: nobody has less than it wanted of late up to its nominal number, nor less than it does not
/// lend; beyond that everyone gets the same part of what it wants, as far as it may borrow.
pub fn divide(total: u32, wants: &[Want]) -> Division {
    let floor = |want: &Want| f64::from(want.bounds.min).max(want.high.min(f64::from(want.bounds.nominal)));
    let lower: Vec<f64> = wants.iter().map(floor).collect();
    if lower.iter().sum::<f64>() >= f64::from(total) {
        return Division { seats: lower.iter().map(|seats| seats.round() as u32).collect(), fair_fraction: 0.0 };
    }
    /// A level that wants nothing has a little weight, so that what nobody wants is divided too.
    const TARGET_MIN: f64 = 0.001;
    let given = |fraction: f64| -> Vec<f64> {
        let one = |(want, lower): (&Want, &f64)| {
            let target = want.smooth.max(*lower).max(TARGET_MIN);
            (target * fraction).clamp(*lower, f64::from(want.bounds.max).max(*lower))
        };
        wants.iter().zip(&lower).map(one).collect()
    };
    // What is given grows with the fraction: bisection finds where it is the total, and ends at the top where the
    // bounds give less than there is.
    let (mut low, mut high) = (0.0, f64::from(total) / TARGET_MIN);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        match given(middle).iter().sum::<f64>() < f64::from(total) {
            true => low = middle,
            false => high = middle,
        }
    }
    Division { seats: given(high).iter().map(|seats| seats.round() as u32).collect(), fair_fraction: high }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(shares: u32, lendable_percent: u32, borrowing_limit_percent: Option<u32>) -> Claim {
        Claim { shares, lendable_percent, borrowing_limit_percent }
    }

    #[test]
    fn shares_become_seats_as_kubernetes_counts_them() {
        // The levels of a fresh cluster, with 600 seats: the figures of kube-apiserver's own metrics.
        let claims = [
            claim(5, 0, None),
            claim(0, 0, None),
            claim(20, 50, None),
            claim(10, 0, None),
            claim(40, 25, None),
            claim(30, 33, None),
            claim(40, 50, None),
            claim(100, 90, None),
        ];
        let found = bounds(600, &claims);
        let nominal: Vec<u32> = found.iter().map(|bounds| bounds.nominal).collect();
        let min: Vec<u32> = found.iter().map(|bounds| bounds.min).collect();
        assert_eq!(nominal, [13, 0, 49, 25, 98, 74, 98, 245]);
        assert_eq!(min, [13, 0, 24, 25, 73, 50, 49, 24]);
        assert!(found.iter().all(|bounds| bounds.max == bounds.nominal + 600));
        assert_eq!(bounds(100, &[claim(1, 0, Some(50)), claim(1, 100, Some(0))])[0].max, 75);
        assert_eq!(
            bounds(100, &[claim(1, 0, Some(50)), claim(1, 100, Some(0))])[1],
            Bounds { nominal: 50, min: 0, max: 50 }
        );
    }

    #[test]
    fn idle_levels_lend_and_get_back_at_once_what_they_want() {
        let found = bounds(100, &[claim(50, 50, None), claim(50, 50, None)]);
        let want = |bounds: Bounds, high: f64| Want { bounds, high, smooth: high };
        // One is busy, the other idle: all but what is not lent.
        let division = divide(100, &[want(found[0], 500.0), want(found[1], 0.0)]);
        assert_eq!(division.seats, [75, 25]);
        // It wakes up: its own seats are its own again.
        assert_eq!(divide(100, &[want(found[0], 500.0), want(found[1], 60.0)]).seats, [50, 50]);
        assert_eq!(divide(100, &[want(found[0], 500.0), want(found[1], 40.0)]).seats, [60, 40]);
        // Nobody wants anything: everyone has its part.
        assert_eq!(divide(100, &[want(found[0], 0.0), want(found[1], 0.0)]).seats, [50, 50]);
    }

    #[test]
    fn borrowing_ends_at_its_limit() {
        let found = bounds(100, &[claim(50, 0, Some(20)), claim(50, 100, None)]);
        let busy = Want { bounds: found[0], high: 500.0, smooth: 500.0 };
        let idle = Want { bounds: found[1], high: 0.0, smooth: 0.0 };
        assert_eq!(divide(100, &[busy, idle]).seats, [60, 40]);
    }

    proptest! {
        #[test]
        fn every_division_keeps_the_bounds_and_the_total(
            total in 10u32..2000,
            levels in proptest::collection::vec((0u32..200, 0u32..=100, proptest::option::of(0u32..300), 0f64..3000.0), 1..9),
        ) {
            let claims: Vec<Claim> = levels.iter().map(|(shares, lend, borrow, _)| claim(*shares, *lend, *borrow)).collect();
            let found = bounds(total, &claims);
            let wants: Vec<Want> = found.iter().zip(&levels)
                .map(|(bounds, (.., wanted))| Want { bounds: *bounds, high: *wanted, smooth: *wanted }).collect();
            let division = divide(total, &wants);
            for (want, seats) in wants.iter().zip(&division.seats) {
                prop_assert!(*seats >= want.bounds.min.min(total), "{:?} {}", want, seats);
                prop_assert!(*seats <= want.bounds.max, "{:?} {}", want, seats);
            }
            // A level's number is rounded up from its shares, so that the sum may be beyond the total by one a level.
            let sum: u32 = division.seats.iter().sum();
            prop_assert!(sum <= total + 2 * wants.len() as u32, "{} of {}", sum, total);
        }
    }
}
