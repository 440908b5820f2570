extern crate std;

mod fairness;
mod heap;
mod limits;
mod parent;
mod places;
mod sim;
mod sleepers;
