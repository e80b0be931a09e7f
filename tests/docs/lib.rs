//! Nothing but tests: of README, docs and the manual pages.
