//! What one run of a workload on one system gave.

/// One run.
#[derive(Clone, Copy)]
pub struct Sample {
    /// Transactions a second, or milliseconds.
    pub value: f64,
    /// CPU microseconds of all server processes for one transaction or
    /// statement.
    pub cpu_us: f64,
    /// The same of the clients, if it was measured.
    pub client_us: Option<f64>,
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

    /// What the ratio of throughputs is while the systems and their clients keep
    /// all cores busy, and nobody else does: that of CPU times, the other way
    /// round. Unlike throughput, it is not disturbed by other work.
    pub fn of_cpu(ours: &[Sample], theirs: &[Sample]) -> Option<Self> {
        let whole = |sample: &Sample| sample.client_us.map(|client| sample.cpu_us + client);
        Self::of(ours.iter().zip(theirs).filter_map(|(a, b)| Some(whole(b)? / whole(a)?)))
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

    #[test]
    fn cpu_counts_clients_and_is_turned_round() {
        let sample = |cpu_us, client_us| Sample { value: 1.0, cpu_us, client_us, wal_syncs: None };
        let of = |ours, theirs| Spread::of_cpu(&[ours], &[theirs]).map(|spread| spread.median);
        assert_eq!(of(sample(90.0, Some(10.0)), sample(40.0, Some(10.0))), Some(0.5));
        assert_eq!(of(sample(90.0, None), sample(40.0, Some(10.0))), None);
    }
}
