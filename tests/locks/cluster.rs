//! A cluster of three nodes.

use millrace::config;
use millrace::locks::redis::RedisLocks;
use millrace::locks::{Locks as _, MAX_CUSTOMERS_A_CALL};

use super::{LONG, many, names, until};
use crate::servers::redis::Server;
use crate::servers::{free_port, redis_prefix};

async fn three_nodes() -> [Server; 3] {
    let buses = [free_port(), free_port(), free_port()].map(|port| port.to_string());
    let node = async |bus: &str| {
        let options = "--cluster-enabled yes --cluster-node-timeout 2000 --cluster-require-full-coverage no";
        Server::start_with(&options.split(' ').chain(["--cluster-port", bus]).collect::<Vec<_>>()).await
    };
    let nodes = [node(&buses[0]).await, node(&buses[1]).await, node(&buses[2]).await];
    for (node, slots) in nodes.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]]) {
        node.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]).await;
    }
    for (node, bus) in nodes.iter().zip(&buses).skip(1) {
        nodes[0].ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string(), bus]).await;
    }
    for node in &nodes {
        until("the node knows all three", || async {
            let info: String = node.ask(&["CLUSTER", "INFO"]).await;
            ["cluster_state:ok", "cluster_known_nodes:3", "cluster_slots_ok:16384"]
                .iter()
                .all(|want| info.contains(want))
        })
        .await;
    }
    nodes
}

fn at(node: &Server) -> config::Locks {
    let url = format!("{}/?cluster=true", node.url());
    let timeout = std::time::Duration::from_secs(2);
    config::Locks { url, prefix: redis_prefix(), buckets: 256, timeout, ..config::Locks::default() }
}

#[tokio::test]
async fn buckets_spread_over_the_nodes_and_a_dead_node_is_survived() {
    let mut nodes = three_nodes().await;
    let settings = at(&nodes[0]);
    let (ours, theirs) = (RedisLocks::open(&settings).unwrap(), RedisLocks::open(&settings).unwrap());
    let customers = many(MAX_CUSTOMERS_A_CALL);
    assert_eq!(ours.take(&customers, LONG).await, Ok(vec![true; customers.len()]));
    assert_eq!(theirs.take(&customers, LONG).await, Ok(vec![false; customers.len()]));
    for node in &nodes {
        let keys: usize = node.ask(&["DBSIZE"]).await;
        assert!(keys > 30, "{keys} keys on one of three nodes");
        node.ask::<()>(&["SCRIPT", "FLUSH"]).await;
    }
    assert_eq!(ours.renew(&customers, LONG).await, Ok(vec![true; customers.len()]));

    nodes[2].kill().await;
    until("a call that needs the dead node fails", || async { ours.renew(&customers, LONG).await.is_err() }).await;
    nodes[2].start_again().await;
    until("the cluster is whole again", || async {
        let renewed = ours.renew(&customers, LONG).await;
        // What the dead node kept is lost, what the others kept is still ours.
        renewed.is_ok_and(|renewed| renewed.contains(&true) && renewed.contains(&false))
    })
    .await;
    ours.release(&customers).await.unwrap();
    assert_eq!(theirs.take(&names(&["customer-0", "customer-1"]), LONG).await, Ok(vec![true, true]));
}
