//! The synthetic interrupt controller of one VP.
#![no_std]
#![forbid(unsafe_code)]

pub mod reftime;
