"""The names of MongoDB's commands, and those that run on `admin`. Pure."""

from __future__ import annotations

from difflib import get_close_matches

# They speak of a database or its collections by full name, and only run in the database admin: there they are sent.
_SENT_TO_ADMIN = """
    abortMoveCollection abortReshardCollection abortUnshardCollection analyzeShardKey balancerCollectionStatus bulkWrite
    cleanupOrphaned cleanupReshardCollection clearJumboFlag commitReshardCollection configureCollectionBalancing
    configureQueryAnalyzer enableSharding mergeAllChunksOnShard mergeChunks moveChunk moveCollection movePrimary moveRange
    refineCollectionShardKey renameCollection reshardCollection shardCollection split unshardCollection updateZoneKeyRange
"""
# They only run in admin too, and are about the whole server or cluster: no migration of one database.
_OF_THE_SERVER = """
    addShard addShardToZone appendOplogNote autoCompact balancerStart balancerStatus balancerStop configureFailPoint currentOp
    dropConnections flushRouterConfig fsync fsyncUnlock getAuditConfig getClusterParameter getCmdLineOpts getDefaultRWConcern
    getLog getParameter getShardMap killOp listDatabases listShards lockInfo logApplicationMessage logRotate oidcListKeys
    oidcRefreshKeys removeQuerySettings removeShard removeShardFromZone replSetAbortPrimaryCatchUp replSetFreeze
    replSetGetConfig replSetGetStatus replSetInitiate replSetMaintenance replSetReconfig replSetResizeOplog replSetStepDown
    replSetStepUp replSetSyncFrom rotateCertificates setAuditConfig setClusterParameter setDefaultRWConcern
    setFeatureCompatibilityVersion setFreeMonitoring setParameter setQuerySettings setUserWriteBlockMode shardingState
    shutdown top transitionFromDedicatedConfigServer transitionToDedicatedConfigServer
"""
_OF_A_DATABASE = """
    aggregate applyOps authenticate availableQueryOptions buildInfo buildinfo captrunc checkMetadataConsistency
    checkShardingIndex cleanupStructuredEncryptionData cloneCollectionAsCapped collMod collStats collstats compact
    compactStructuredEncryptionData connPoolStats connPoolSync connectionStatus convertToCapped count create createIndexes
    createRole createSearchIndexes createUser dataSize datasize dbCheck dbHash dbStats dbhash dbstats delete deleteIndexes
    distinct driverOIDTest drop dropAllRolesFromDatabase dropAllUsersFromDatabase dropDatabase dropIndexes dropRole
    dropSearchIndex dropUser emptycapped endSessions explain features filemd5 find findAndModify findandmodify geoSearch
    getFreeMonitoringStatus getLastError getMore getPrevError getlasterror getnonce getpreverror godinsert
    grantPrivilegesToRole grantRolesToRole grantRolesToUser hello hostInfo insert invalidateUserCache isMaster isdbgrid
    ismaster killAllSessions killAllSessionsByPattern killCursors killSessions listCollections listCommands listIndexes
    listSearchIndexes logout mapReduce mapreduce netstat ping planCacheClear planCacheClearFilters planCacheListFilters
    planCacheListPlans planCacheListQueryShapes planCacheSetFilter profile reIndex refreshSessions resetError reseterror
    revokePrivilegesFromRole revokeRolesFromRole revokeRolesFromUser rolesInfo saslContinue saslStart serverStatus
    setIndexCommitQuorum setProfilingFilterGlobally shardConnPoolStats splitVector startRecordingTraffic startSession
    stopRecordingTraffic update updateRole updateSearchIndex updateUser usersInfo validate validateDBMetadata whatsmyuri
"""
SENT_TO_ADMIN, OF_THE_SERVER, _OWN = (
    frozenset(names.split()) for names in (_SENT_TO_ADMIN, _OF_THE_SERVER, _OF_A_DATABASE)
)
KNOWN = SENT_TO_ADMIN | OF_THE_SERVER | _OWN
"""The commands of MongoDB 4.4 to 8.0 that are not internal."""
# What the shell calls them: methods, which are no commands.
_METHODS = {
    "bulkwrite": "bulkWrite",
    "createcollection": "create",
    "createindex": "createIndexes",
    "createview": "create",
    "deletemany": "delete",
    "deleteone": "delete",
    "dropcollection": "drop",
    "dropindex": "dropIndexes",
    "ensureindex": "createIndexes",
    "findone": "find",
    "findoneanddelete": "findAndModify",
    "findoneandreplace": "findAndModify",
    "findoneandupdate": "findAndModify",
    "insertmany": "insert",
    "insertone": "insert",
    "remove": "delete",
    "replaceone": "update",
    "runcommand": "the command itself, without runCommand",
    "updatemany": "update",
    "updateone": "update",
}
_NEAR = 0.85


def meant(name: str) -> str:
    """Return which command an unknown name is a slip for; '' if it resembles none, as a new release's may."""
    if method := _METHODS.get(name.lower()):
        return method
    by_case = {known.lower(): known for known in sorted(KNOWN, reverse=True)}
    near = get_close_matches(name.lower(), by_case, n=1, cutoff=_NEAR)
    if not near:
        return ""
    within = near[0] in name.lower() or name.lower() in near[0]
    if within and abs(len(near[0]) - len(name)) > 1:  # another command: shardCollection, unshardCollection
        return ""
    return by_case[near[0]]
