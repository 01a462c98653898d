//! Samples and what is told of them. Pure.

/// Measured values of one kind, in ascending order; never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Sorts `values`; `None` where there are none. Values that are no numbers are left out.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then_some(Self(values))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest value that at least `percent` of the samples do not exceed (nearest rank): a value that was
    /// measured, never one in between.
    pub fn percentile(&self, percent: f64) -> f64 {
        let rank = (percent.clamp(0.0, 100.0) / 100.0 * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    /// The middle one; of an even number the lower of the two.
    pub fn median(&self) -> f64 {
        self.percentile(50.0)
    }

    /// The largest.
    pub fn max(&self) -> f64 {
        self.percentile(100.0)
    }

    /// The smallest.
    pub fn min(&self) -> f64 {
        self.percentile(0.0)
    }

    /// The values, ascending.
    pub fn values(&self) -> &[f64] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Samples {
        Samples::new(values.iter().copied()).unwrap()
    }

    #[test]
    fn percentiles_are_measured_values_by_nearest_rank() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        for (percent, value) in [(0.0, 1.0), (1.0, 1.0), (50.0, 50.0), (99.0, 99.0), (99.1, 100.0), (100.0, 100.0)] {
            assert_eq!(of(&hundred).percentile(percent), value, "{percent}");
        }
        // Of fewer than a hundred, the 99th percentile is the largest.
        assert_eq!(of(&[3.0, 1.0, 2.0]).percentile(99.0), 3.0);
    }

    #[test]
    fn medians_and_ends() {
        for (values, median) in [(&[7.0][..], 7.0), (&[1.0, 2.0], 1.0), (&[9.0, 1.0, 5.0], 5.0)] {
            assert_eq!(of(values).median(), median, "{values:?}");
        }
        let samples = of(&[4.0, -1.0, 2.5]);
        assert_eq!((samples.min(), samples.max(), samples.count()), (-1.0, 4.0, 3));
    }

    #[test]
    fn without_values_there_is_nothing_to_tell() {
        assert_eq!(Samples::new([]), None);
        assert_eq!(Samples::new([f64::NAN, f64::INFINITY]), None);
        assert_eq!(Samples::new([f64::NAN, 1.0]).unwrap().values(), [1.0]);
    }
}
