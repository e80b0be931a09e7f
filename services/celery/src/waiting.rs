//! Questions whose answers come in another task.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// What waits for an answer, by the name of its question.
pub type Waiting<T> = Mutex<HashMap<String, oneshot::Sender<T>>>;

/// The name of a question that nothing waits for any more when this is dropped.
pub struct Forget<'a, T>(pub &'a Waiting<T>, pub &'a str);

impl<T> Drop for Forget<'_, T> {
    fn drop(&mut self) {
        lock(self.0).remove(self.1);
    }
}

/// Locks what no panic can leave half done.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
