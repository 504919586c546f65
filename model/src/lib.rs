//! Exhaustive models.
