//! Volumes, binds and other mounts.

use changeover_tests::lab::EngineKind::{V20_10, V26_1};

use crate::case::{Case, run, script};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    run("volume", "--volume mine:/mine $IMAGE"),
    run("volume_read_only", "-v mine:/mine:ro $IMAGE"),
    run("volume_without_a_copy", "-v mine:/mine:nocopy $IMAGE"),
    run("volume_for_the_images", "-v data:/data $IMAGE").pins("/old"),
    run("volume_for_all_of_the_images", "-v data:/data -v old:/old -v fresh:/fresh $IMAGE").pins("").pins_again(""),
    run("volume_anonymous", "--volume /mine $IMAGE").pins("/data /mine /old"),
    run("volume_anonymous_for_the_images", "--volume /data $IMAGE"),
    run("volume_anonymous_with_a_slash", "--volume /mine/ $IMAGE").pins("/data /mine /old"),
    run("volume_driver", "--volume-driver local --volume driven:/mine $IMAGE"),
    run("volume_driver_of_an_anonymous_one", "--volume-driver local --volume /mine $IMAGE").pins("/data /mine /old"),
    run("volume_for_a_bind", "-v $DIR/srv:/data $IMAGE").pins("/old"),

    run("bind", "-v $DIR/srv:/srv $IMAGE"),
    run("bind_read_only", "-v $DIR/srv:/srv:ro $IMAGE"),
    run("bind_relabelled", "-v $DIR/srv:/srv:z $IMAGE"),
    run("bind_of_a_file", "-v $DIR/conf/file:/etc/file:ro $IMAGE"),
    run("bind_propagated", "-v $DIR/shared:/shared:rshared $IMAGE"),
    run("bind_slave", "-v $DIR/shared:/shared:ro,rslave $IMAGE"),
    run("bind_within_a_volume", "-v mine:/mine -v $DIR/srv:/mine/srv $IMAGE"),
    run("bind_made_by_the_engine", "-v $DIR/$NAME:/srv $IMAGE"),

    run("mount_of_a_volume", "--mount type=volume,source=mine,target=/mine $IMAGE"),
    run("mount_of_a_volume_with_options", "--mount type=volume,source=mine,target=/mine,readonly,volume-nocopy $IMAGE"),
    run("mount_of_a_volume_with_a_driver", "--mount type=volume,source=$NAME,target=/mine,volume-driver=local,volume-opt=type=tmpfs,volume-opt=device=tmpfs,volume-opt=o=size=1m,volume-label=a=b $IMAGE"),
    run("mount_of_an_anonymous_volume", "--mount type=volume,target=/mine $IMAGE").pins("/data /mine /old"),
    run("mount_for_the_images_volume", "--mount type=volume,target=/data $IMAGE"),
    run("mount_of_a_bind", "--mount type=bind,source=$DIR/srv,target=/srv $IMAGE"),
    run("mount_of_a_bind_with_options", "--mount type=bind,source=$DIR/shared,target=/srv,readonly,bind-propagation=rslave,bind-nonrecursive $IMAGE"),
    run("mount_of_a_bind_read_only_to_the_bottom", "--mount type=bind,source=$DIR/srv,target=/srv,readonly,bind-propagation=rprivate,bind-recursive=readonly $IMAGE")
        .not(&[(V20_10, "25 brought it")]),
    run("mount_of_a_bind_writable_below", "--mount type=bind,source=$DIR/srv,target=/srv,readonly,bind-recursive=writable $IMAGE")
        .not(&[(V20_10, "25 brought it")]),
    run("mount_of_a_tmpfs", "--mount type=tmpfs,target=/run $IMAGE"),
    run("mount_of_a_tmpfs_with_options", "--mount type=tmpfs,target=/run,tmpfs-size=1m,tmpfs-mode=1770 $IMAGE"),
    script("mount_of_a_part_of_a_volume", "docker run --rm --volume $NAME:/mine --user 0 --entrypoint /bin/sh $IMAGE -c 'test -d /mine/part || /bin/sh -c \"echo x > /mine/x\"' 
        mkdir -p $DIR/nothing
        docker run --rm --volume $NAME:/mine --volume $DIR/nothing:/mine/part --user 0 --entrypoint /bin/app $IMAGE --exit-ms 0 --exit-code 0 || true
        docker run --detach --name $NAME --mount type=volume,source=$NAME,target=/mine,volume-subpath=part $IMAGE")
        .not(&[(V20_10, "API 1.45 brought it")]),
    run("mount_of_an_image", "--mount type=image,source=app:1,target=/image $IMAGE")
        .not(&[(V20_10, "API 1.48 brought it"), (V26_1, "API 1.48 brought it")]),
    run("mount_by_both_flags", "-v mine:/mine --mount type=bind,source=$DIR/srv,target=/srv $IMAGE"),

    run("tmpfs", "--tmpfs /run $IMAGE"),
    run("tmpfs_with_options", "--tmpfs /run:rw,size=1m,mode=1777,noexec $IMAGE"),
    run("tmpfs_for_the_images_volume", "--tmpfs /data $IMAGE").pins("/old"),
    run("volumes_of_a_neighbour", "--volumes-from neighbour $IMAGE"),
    run("volumes_of_a_neighbour_read_only", "--volumes-from neighbour:ro $IMAGE"),
    run("read_only", "--read-only --tmpfs /run $IMAGE"),
];
