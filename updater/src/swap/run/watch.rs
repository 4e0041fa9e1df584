//! The steps that only look.

use std::time::Duration;

use super::super::facts::Sameness;
use super::super::observe::Observed;
use super::Runner;
use crate::engine::EngineError;
use crate::gate;
use crate::plan::Plan;
use crate::successor::{Moved, Pair, unexplained};

impl Runner<'_> {
    /// Compares the new container with the old one; says whether they are the same.
    pub(super) async fn compare(
        &mut self,
        member: usize,
        observed: &Observed,
    ) -> Result<bool, EngineError> {
        let (Some(old), Some(new)) = (&observed.old[member], &observed.new[member]) else {
            return Ok(false);
        };
        let image = &self.plan.members[member].image.id;
        let gone = || EngineError::Reply { status: 404, message: format!("no image {image}") };
        let new_image = self.engine.image(image).await?.ok_or_else(gone)?;
        let old_image = self.engine.image(old["Image"].as_str().unwrap_or_default()).await?;
        let moved = moved(self.plan, observed);
        let difference = unexplained(&Pair {
            old,
            old_image: old_image.as_ref(),
            new,
            new_image: &new_image,
            moved: &moved,
        });
        let same = difference.is_none();
        self.seen.sameness[member] = difference.map_or(Sameness::Same, Sameness::Differs);
        Ok(same)
    }

    /// Looks at the new container; says whether it is through this step.
    pub(super) async fn watch_new(&mut self, member: usize, observed: &Observed) -> bool {
        let Some(new) = &observed.new[member] else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            return false;
        };
        let gate = &mut self.gates[member];
        let verdict = gate.look(self.engine, new).await;
        let before = std::mem::replace(&mut self.seen.verdicts[member], verdict.clone());
        if verdict == before {
            tokio::time::sleep(gate.pause(new)).await;
            return false;
        }
        verdict.answers()
    }

    /// Looks at the restored old container; says whether it answers.
    pub(super) async fn watch_old(&mut self, member: usize, observed: &Observed) -> bool {
        let (Some(old), Some(seen)) = (&observed.old[member], &observed.facts.members[member].old)
        else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            return false;
        };
        // Old is the way back. If it doesn't answer it is still better than the page.
        let limit = Duration::from_secs(self.plan.gate.timeout_seconds);
        let waited = self.seen.doing.as_ref().map_or(limit, |(_, begun)| begun.elapsed());
        let plan = &self.plan.members[member];
        let steady = self.seen.disorder[member].is_steady(seen);
        let answers = waited >= limit || steady && gate::old_answers(self.engine, plan, old).await;
        self.seen.old_answers[member] = answers;
        if !answers {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        answers
    }
}

/// Who is called how before and after, for those whose settings name others of the set.
fn moved(plan: &Plan, observed: &Observed) -> Vec<Moved> {
    let members = plan.members.iter().zip(&observed.facts.members);
    members
        .map(|(member, facts)| Moved {
            old: [member.old.id.clone(), member.name.clone()],
            new: [
                facts.new.as_ref().map(|new| new.id.clone()).unwrap_or_default(),
                member.next_name(),
                member.name.clone(),
            ],
        })
        .collect()
}
