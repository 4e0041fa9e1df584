//! Limits and shares of the machine.

use crate::case::{Case, run};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    run("memory", "--memory 64m $IMAGE"),
    run("memory_and_swap", "-m 64m --memory-swap 128m --memory-reservation 32m $IMAGE"),
    run("memory_with_endless_swap", "-m 64m --memory-swap -1 $IMAGE"),
    run("memory_swappiness", "-m 64m --memory-swappiness 10 $IMAGE"),
    run("memory_swappiness_zero", "-m 64m --memory-swappiness 0 $IMAGE"),
    run("memory_of_the_kernel", "--memory 64m --kernel-memory 32m $IMAGE"),
    run("oom_killer_off", "-m 64m --oom-kill-disable $IMAGE"),
    run("oom_killer_on", "-m 64m --oom-kill-disable=false $IMAGE"),
    run("oom_score", "--oom-score-adj 300 $IMAGE"),
    run("cpus", "--cpus 0.5 $IMAGE"),
    run("cpu_shares", "--cpu-shares 512 $IMAGE"),
    run("cpu_period_and_quota", "--cpu-period 50000 --cpu-quota 25000 $IMAGE"),
    run("cpu_real_time", "--cpu-rt-period 1000000 --cpu-rt-runtime 0 $IMAGE"),
    run("cpu_sets", "--cpuset-cpus 0-1 --cpuset-mems 0 $IMAGE"),
    run("pids", "--pids-limit 100 $IMAGE"),
    run("pids_without_end", "--pids-limit -1 $IMAGE"),
    run("ulimits", "--ulimit nofile=1024:2048 --ulimit nproc=64 --ulimit core=0 $IMAGE"),
    run("shm", "--shm-size 32m $IMAGE"),
    run("blkio", "--blkio-weight 300 $IMAGE"),
    run("blkio_of_a_device", "--blkio-weight-device /dev/vda:200 $IMAGE"),
    run("blkio_rates", "--device-read-bps /dev/vda:1mb --device-write-bps /dev/vda:2mb --device-read-iops /dev/vda:100 --device-write-iops /dev/vda:200 $IMAGE"),
];
