"""The same tagging on many machines: names -> shards -> Ray's actors, each with a tagger -> a file a shard.

What is to be tagged is written down once, so that every recording has one place in one shard, on any
machine and however often it is tagged. Scheduling, retries and queues are Ray Data's.
"""
