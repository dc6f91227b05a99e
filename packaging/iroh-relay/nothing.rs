//! The program comes from the crate iroh-relay; a package needs a target of its own, too.
