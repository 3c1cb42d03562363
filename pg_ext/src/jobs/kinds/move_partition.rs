//! Moving a partition of a colocation group.

use cluster::rebalance::Relocation;

use crate::jobs::driving::Driving;
use crate::jobs::kind::{Kind, Next};
use crate::moving::Driver;
use crate::report::Report;

/// One move. Everything else about it is found out where the partition is and
/// where it goes.
pub struct MovePartition {
    pub group: cluster::TableId,
    pub partition: cluster::PartitionNumber,
    pub source: cluster::NodeId,
    pub destination: cluster::NodeId,
}

impl MovePartition {
    fn relocation(&self, driving: &Driving) -> Relocation {
        Relocation {
            job: driving.job().id.0 as i64,
            group: self.group,
            partition: self.partition,
            source: self.source,
            destination: self.destination,
        }
    }
}

impl Kind for MovePartition {
    fn step(&self, driving: &mut Driving) -> Result<Next, Report> {
        driving.wait_for_older_jobs()?;
        let relocation = self.relocation(driving);
        Driver::begin(relocation, &mut |word| driving.tell(word))?.run()?;
        Ok(Next::Finished(String::new()))
    }

    fn clean_up(&self, driving: &mut Driving) -> Result<Next, Report> {
        let relocation = self.relocation(driving);
        // Why it failed stays to be seen.
        Driver::begin(relocation, &mut |_| Ok(()))?.give_up()?;
        Ok(Next::Finished(String::new()))
    }
}
