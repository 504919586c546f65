//! std's cell with the closures of a checker's: std and shuttle use it. shuttle does not watch
//! cells.

/// A cell that is read and written through closures, as the checkers want it.
#[derive(Debug)]
#[repr(transparent)]
pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// A cell with a value.
    pub const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// For reading. To dereference the pointer is the caller's unsafe step.
    #[inline]
    pub fn with<A>(&self, f: impl FnOnce(*const T) -> A) -> A {
        f(self.0.get())
    }

    /// For writing. To dereference the pointer is the caller's unsafe step.
    #[inline]
    pub fn with_mut<A>(&self, f: impl FnOnce(*mut T) -> A) -> A {
        f(self.0.get())
    }
}
