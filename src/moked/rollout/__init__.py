"""How calls are heard can be changed while they run: for all, for a share of them, for one number.

    policy (pure)   what holds, and what it means for one call      guard (pure)   when streaming is to be taken back
    compare (pure)  two recognitions of the same audio, measured    live, shadow   the shells: follow, compare, guard

The state is in the database (`crm.rollouts`), so that every process and host follows the same one.
"""
