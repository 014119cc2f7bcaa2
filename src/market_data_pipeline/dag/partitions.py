"""How keys are spread over workers: key to key group, key group to partition.

The key group of a key never changes; which worker has a key group does, when their
number changes. State is saved by key group, so it can follow.
"""

from __future__ import annotations

__all__ = ("KEY_GROUP_COUNT", "key_group_of", "key_groups_of_partition", "partition_of")

from market_data_pipeline.errors import ConfigError
from market_data_pipeline.symbols import KEY_GROUP_COUNT, key_group_of


def partition_of(key_group: int, partition_count: int) -> int:
    """Return the partition that has a key group, `0 <= partition < partition_count`.

    Raises:
        ConfigError: If the count is not from 1 to `KEY_GROUP_COUNT`.
    """
    if not 1 <= partition_count <= KEY_GROUP_COUNT:
        msg = f"`partition_count` must be from 1 to {KEY_GROUP_COUNT}, was {partition_count}"
        raise ConfigError(msg, parameter="partition_count")
    return key_group * partition_count // KEY_GROUP_COUNT


def key_groups_of_partition(partition: int, partition_count: int) -> range:
    """Return the key groups of a partition: contiguous, and none in two partitions.

    Raises:
        ConfigError: If the count is not from 1 to `KEY_GROUP_COUNT`.
    """
    partition_of(0, partition_count)
    first = -(-partition * KEY_GROUP_COUNT // partition_count)
    beyond = -(-(partition + 1) * KEY_GROUP_COUNT // partition_count)
    return range(first, beyond)
