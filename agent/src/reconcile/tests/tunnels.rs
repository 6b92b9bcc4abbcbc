//! Which tunnels are open is known by another program than who is registered, and not always (G38).

use pgw_core::active::ActiveTunnels;

use super::*;

fn set(generation: u64, tcp: Option<&[u16]>) -> ActiveSet {
    let tunnels = tcp.map(|tcp| ActiveTunnels {
        range: [10_000, 32_000],
        tcp: tcp.iter().copied().collect(),
        udp: BTreeSet::new(),
    });
    ActiveSet { tunnels, ..active(generation, &[(3, 15001)], &[4]) }
}

impl House {
    fn open(&self) -> Vec<u16> {
        let found = self.kernel.model().found();
        found.map(|found| found.elements.tunnel_tcp.into_iter().collect()).unwrap_or_default()
    }
}

#[tokio::test]
async fn a_tunnel_comes_and_goes_by_one_element_and_no_connection_of_a_device_is_looked_at() {
    let mut house = House::new();
    house.reconcile(Ok(set(1, Some(&[])))).await.unwrap();
    let (looks, applied) = (house.looks(), house.kernel.times_applied());
    house.reconcile(Ok(set(2, Some(&[12_000])))).await.unwrap();
    assert_eq!(house.open(), [12_000]);
    house.reconcile(Ok(set(3, Some(&[])))).await.unwrap();
    assert_eq!(house.open(), Vec::<u16>::new());
    assert_eq!((house.looks(), house.kernel.times_applied()), (looks, applied + 2));
    assert_eq!(house.drift(), 0);
}

#[tokio::test]
async fn when_nobody_knows_of_tunnels_they_stay_while_devices_are_closed() {
    let mut house = House::new();
    house.reconcile(Ok(set(1, Some(&[12_000])))).await.unwrap();
    let closed = ActiveSet { tunnels: None, ..active(2, &[], &[3, 4]) };
    house.reconcile(Ok(closed.clone())).await.unwrap();
    assert_eq!((house.open(), house.ports()), (vec![12_000], vec![]));

    // The same for an agent that has just been started.
    house.reconciler.left = None;
    house.reconciler.given = None;
    house.reconcile(Ok(closed)).await.unwrap();
    assert_eq!(house.open(), [12_000]);
}

#[tokio::test]
async fn open_tunnels_are_open_after_a_boot() {
    let mut house = House::new();
    house.reconcile(Ok(set(1, Some(&[12_000])))).await.unwrap();
    let booted = FakeKernel::default();
    restore(&booted, &Saved::new(house.state.path()), &policy()).await.unwrap();
    assert_eq!(booted.model().found().unwrap().elements.tunnel_tcp, [12_000].into());
}
