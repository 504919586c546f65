//! A look at something that costs others work, shared by all who ask for it.
//!
//! Invariants:
//! * one look is under way at a time, and the next one begins no sooner than [`FRESH_FOR`] after its end: those
//!   who ask in between are told what it has seen, and nothing older;
//! * a look ends also when whoever asked for it has gone.
//!
//! What it does not do: look while nobody asks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// What was seen is told for so long.
pub(crate) const FRESH_FOR: Duration = Duration::from_secs(1);

/// When the last look has ended, and what it saw.
#[derive(Debug)]
pub(crate) struct Glance<T>(Arc<Mutex<Option<(Instant, T)>>>);

impl<T> Default for Glance<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone + Send + 'static> Glance<T> {
    /// What a look has seen, at most [`FRESH_FOR`] ago. `None`: it has broken off.
    pub(crate) async fn at<F>(&self, look: impl FnOnce() -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut last = Arc::clone(&self.0).lock_owned().await;
        if let Some((ended, seen)) = &*last
            && ended.elapsed() < FRESH_FOR
        {
            return Some(seen.clone());
        }
        let look = look();
        // A task of its own: whoever asks and goes at once does not make the next one look again.
        let looking = tokio::spawn(async move {
            let seen = look.await;
            *last = Some((Instant::now(), seen.clone()));
            seen
        });
        looking.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::{advance, sleep, timeout};

    use super::*;

    /// Looks that take a while, and say which they are.
    #[derive(Default)]
    struct Looks {
        glance: Glance<u32>,
        begun: Arc<AtomicU32>,
    }

    impl Looks {
        async fn at(&self) -> Option<u32> {
            let begun = Arc::clone(&self.begun);
            let look = || async move {
                // Relaxed: a count alone, by tasks of one thread.
                let number = 1 + begun.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(100)).await;
                number
            };
            self.glance.at(look).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_in_one_second_share_a_look_and_nobody_is_told_an_older_one() {
        let looks = Looks::default();
        assert_eq!(tokio::join!(looks.at(), looks.at(), looks.at()), (Some(1), Some(1), Some(1)));
        for _ in 0..100 {
            assert_eq!(looks.at().await, Some(1));
        }
        advance(FRESH_FOR).await;
        assert_eq!(tokio::join!(looks.at(), looks.at()), (Some(2), Some(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_is_not_begun_again_for_those_who_do_not_wait_for_it() {
        let looks = Looks::default();
        for _ in 0..10 {
            assert!(timeout(Duration::from_millis(5), looks.at()).await.is_err());
        }
        assert_eq!(looks.at().await, Some(1));
    }

    #[tokio::test]
    async fn a_look_that_breaks_off_is_told_to_nobody_else() {
        let glance = Glance::default();
        assert_eq!(glance.at(|| async { panic!("it breaks off") }).await, None::<u32>);
        assert_eq!(glance.at(|| async { 2 }).await, Some(2));
    }
}
