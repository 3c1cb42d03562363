//! What one run of a workload on one system gave.

/// One run.
#[derive(Clone, Copy)]
pub struct Sample {
    /// Transactions a second, or milliseconds.
    pub value: f64,
    /// CPU microseconds of all server processes for one transaction or
    /// statement.
    pub cpu_us: f64,
    /// WAL syncs of all servers for one transaction or statement, if counted.
    pub wal_syncs: Option<f64>,
}

/// The runs of a workload on one system, or why there are none.
pub type Samples = Result<Vec<Sample>, String>;

/// A median with the range around it.
#[derive(Clone, Copy)]
pub struct Spread {
    /// The one in the middle, or the mean of the two there.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of `values`; none if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values[middle - 1] + values[middle]) / 2.0
        };
        Some(Self { median, min, max })
    }

    /// Of the ratios of the values of one system to those of another,
    /// repetition by repetition.
    pub fn of_ratios(ours: &[Sample], theirs: &[Sample]) -> Option<Self> {
        Self::of(ours.iter().zip(theirs).map(|(a, b)| a.value / b.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_in_the_middle() {
        let medians = [vec![3.0, 1.0, 2.0], vec![4.0, 1.0], vec![]]
            .map(|values| Spread::of(values).map(|spread| spread.median));
        assert_eq!(medians, [Some(2.0), Some(2.5), None]);
    }
}
