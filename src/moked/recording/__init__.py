"""Recordings of calls: both sides, written while the call runs, encrypted as they are written.

CallRecorder --blocks of a second--> queue --> one writer thread --> recordings/<token>-<stream>.rec
    (P) timeline: what the caller's ear got, when      (P) container: where which second is      |
                                                                        keeper: silences, peaks, --> disk | S3
                                                                        library: found, read, played
"""
