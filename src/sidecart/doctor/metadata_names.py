"""The metadata names of the component types that the doctor checks.

Sources: components-contrib 1.18.3 (the structs that decode the settings, and each metadata.yaml)
and dapr 1.18.2 (the names that every pub/sub component and every store accepts). The decoders
ignore case, so the doctor compares names without case.
"""

_PUBSUB = "consumerID publishingScopes subscriptionScopes allowedTopics protectedTopics"
_STORE = "keyPrefix actorStateStore outboxPublishPubsub outboxPublishTopic outboxPubsub outboxDiscardWhenMissingState"
_STORE += " primaryEncryptionKey secondaryEncryptionKey ttlInSeconds"
_REDIS = (
    "redisHost redisPort redisPassword redisUsername sentinelPassword sentinelUsername redisDB redisType "
    "redisMaxRetries redisMinRetryInterval redisMaxRetryInterval dialTimeout readTimeout writeTimeout poolSize "
    "minIdleConns maxConnAge poolTimeout idleTimeout idleCheckFrequency sentinelMasterName failover enableTLS "
    "insecureSkipTLSVerify clientCert clientKey useEntraID useAzureAD azureTenantId azureClientId azureClientSecret "
    "azureCertificate azureCertificateFile azureCertificatePassword azureEnvironment"
)
_AZURE_AWS = (
    "azureTenantId azureClientId azureClientSecret azureCertificate azureCertificateFile azureCertificatePassword "
    "azureEnvironment awsRegion awsAccessKey awsSecretKey awsSessionToken accessKey secretKey sessionToken region "
    "assumeRoleArn sessionName assumeRoleSessionName trustAnchorArn trustProfileArn"
)

NAMES: dict[str, frozenset[str]] = {
    "pubsub.redis": frozenset(
        f"{_PUBSUB} {_REDIS} redeliverInterval processingTimeout queueDepth concurrency maxLenApprox streamTTL".split()
    ),
    "pubsub.rabbitmq": frozenset(
        f"{_PUBSUB} connectionString host protocol hostname username password durable enableDeadLetter "
        "deletedWhenUnused autoAck requeueInFailure deliveryMode prefetchCount reconnectWaitSeconds maxLen maxLenBytes "
        "exchangeKind clientName heartBeat publisherConfirm saslExternal concurrency concurrencyMode ttl ttlInSeconds "
        "publishMessagePropertiesToMetadata caCert clientCert clientKey".split()
    ),
    "state.redis": frozenset(f"{_STORE} {_REDIS} queryIndexes maxRetries maxRetryBackoff".split()),
    "state.postgresql": frozenset(
        f"{_STORE} {_AZURE_AWS} connectionString url host hostaddr port database user password sslRootCert "
        "connectionMaxIdleTime maxConns useAzureAD useAWSIAM queryExecMode tablePrefix metadataTableName tableName "
        "timeout timeoutInSeconds cleanupInterval cleanupIntervalInSeconds".split()
    ),
}

_SECRET = (
    "redisPassword sentinelPassword password clientKey azureClientSecret azureCertificatePassword awsSecretKey "
    "secretKey awsSessionToken sessionToken primaryEncryptionKey secondaryEncryptionKey accountKey saslPassword"
)
SECRET = frozenset(_SECRET.lower().split())
"""Settings whose value is always a secret, in lower case."""
