// A charging station of OCPP 2.0.1 or 2.1 with one EVSE that obeys every command
// and shows its effect.
import { hashOf } from './hash.mjs';

export function station2(say) {
  const now = () => new Date().toISOString();
  const variables = new Map([ // component.variable: value
    ['OCPPCommCtrlr.HeartbeatInterval', '300'], ['OCPPCommCtrlr.OfflineThreshold', '60'],
    ['DeviceDataCtrlr.ItemsPerMessage', '4'], ['DeviceDataCtrlr.BytesPerMessage', '8192'],
    ['SmartChargingCtrlr.RateUnit', 'A,W'], ['SmartChargingCtrlr.ProfileStackLevel', '10'],
    ['SmartChargingCtrlr.PeriodsPerSchedule', '24'], ['LocalAuthListCtrlr.ItemsPerMessage', '2'],
    ['LocalAuthListCtrlr.BytesPerMessage', '8192'], ['AlignedDataCtrlr.Interval', '900'],
    ['SampledDataCtrlr.TxUpdatedInterval', '60'], ['SecurityCtrlr.OrganizationName', 'Depot'],
  ]);
  const profiles = new Map(); // id: {evseId, profile}
  const certificates = [];
  const messages = new Map();
  let meter = 1000, transaction, list = 0, count = 0;

  const ok = (after) => [{ status: 'Accepted' }, after];
  const status = (connectorStatus) => say('StatusNotification', { timestamp: now(), connectorStatus, evseId: 1, connectorId: 1 });
  const boot = async (reason = 'PowerUp') => {
    await say('BootNotification', { reason, chargingStation: { vendorName: 'ocpp-rpc', model: 'strict', firmwareVersion: '2.2.1', serialNumber: 'S-2' } });
    await status('Available');
  };
  const value = (context) => [{ timestamp: now(), sampledValue: [{ value: meter += 10, context, measurand: 'Energy.Active.Import.Register', unitOfMeasure: { unit: 'Wh' } }] }];
  const tell = (eventType, triggerReason, info, more) => say('TransactionEvent', {
    eventType, triggerReason, timestamp: now(), seqNo: transaction.seqNo++,
    transactionInfo: { transactionId: transaction.id, ...info }, evse: { id: 1, connectorId: 1 }, ...more,
  });
  const start = async (idToken, remoteStartId) => {
    await status('Occupied');
    transaction = { id: `tx-${Date.now()}-${++count}`, seqNo: 0, idToken };
    await tell('Started', 'RemoteStart', { chargingState: 'EVConnected', remoteStartId }, { idToken, meterValue: value('Transaction.Begin') });
    await tell('Updated', 'ChargingStateChanged', { chargingState: 'Charging' }, { meterValue: value('Sample.Periodic') });
  };
  const stop = async () => {
    const { idToken } = transaction;
    await tell('Ended', 'RemoteStop', { stoppedReason: 'Remote' }, { idToken, meterValue: value('Transaction.End') });
    transaction = undefined;
    await status('Available');
  };
  const component = (name) => ({ name: name.split('.')[0] });
  const variable = (name) => ({ name: name.split('.')[1] });
  const report = async (requestId) => {
    const names = [...variables.keys()];
    for (let i = 0; i < names.length; i += 5) {
      await say('NotifyReport', {
        requestId, generatedAt: now(), seqNo: i / 5, tbc: i + 5 < names.length,
        reportData: names.slice(i, i + 5).map((n) => ({
          component: component(n), variable: variable(n),
          variableAttribute: [{ type: 'Actual', value: variables.get(n), mutability: 'ReadWrite' }],
          variableCharacteristics: { dataType: 'string', supportsMonitoring: false },
        })),
      });
    }
  };
  const log = (requestId) => async () => {
    await say('LogStatusNotification', { status: 'Uploading', requestId });
    await say('LogStatusNotification', { status: 'Uploaded', requestId });
  };
  const trigger = {
    BootNotification: () => boot('Triggered'),
    LogStatusNotification: () => say('LogStatusNotification', { status: 'Idle' }),
    FirmwareStatusNotification: () => say('FirmwareStatusNotification', { status: 'Idle' }),
    Heartbeat: () => say('Heartbeat', {}),
    MeterValues: () => say('MeterValues', { evseId: 1, meterValue: value('Trigger') }),
    SignChargingStationCertificate: () => say('SignCertificate', { csr: '-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----', certificateType: 'ChargingStationCertificate' }),
    SignV2GCertificate: () => say('SignCertificate', { csr: '-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----', certificateType: 'V2GCertificate' }),
    StatusNotification: () => status('Available'),
    TransactionEvent: () => transaction && tell('Updated', 'Trigger', {}, { meterValue: value('Trigger') }),
    PublishFirmwareStatusNotification: () => say('PublishFirmwareStatusNotification', { status: 'Idle' }),
  };

  const orders = {
    CancelReservation: () => ok(() => status('Available')),
    CertificateSigned: () => ok(),
    ChangeAvailability: ({ operationalStatus }) => ok(() => status(operationalStatus === 'Operative' ? 'Available' : 'Unavailable')),
    ClearCache: () => ok(),
    ClearChargingProfile: ({ chargingProfileId }) => {
      const known = chargingProfileId === undefined ? profiles.size > 0 : profiles.has(chargingProfileId);
      chargingProfileId === undefined ? profiles.clear() : profiles.delete(chargingProfileId);
      return [{ status: known ? 'Accepted' : 'Unknown' }];
    },
    ClearDisplayMessage: ({ id }) => [{ status: messages.delete(id) ? 'Accepted' : 'Unknown' }],
    ClearVariableMonitoring: ({ id }) => [{ clearMonitoringResult: id.map((i) => ({ status: 'Accepted', id: i })) }],
    CostUpdated: () => [{}],
    CustomerInformation: ({ requestId }) => ok(() => say('NotifyCustomerInformation', { data: 'nothing is kept', seqNo: 0, generatedAt: now(), requestId })),
    DataTransfer: () => [{ status: 'Accepted', data: 'pong' }],
    DeleteCertificate: ({ certificateHashData: { serialNumber } }) => {
      const at = certificates.findIndex((c) => c.serialNumber === serialNumber);
      if (at >= 0) certificates.splice(at, 1);
      return [{ status: at >= 0 ? 'Accepted' : 'NotFound' }];
    },
    GetBaseReport: ({ requestId }) => ok(() => report(requestId)),
    GetChargingProfiles: ({ requestId }) => profiles.size === 0 ? [{ status: 'NoProfiles' }] : ok(async () => {
      const all = [...profiles.values()];
      for (const [i, { evseId, profile }] of all.entries()) {
        await say('ReportChargingProfiles', {
          requestId, evseId, tbc: i + 1 < all.length, chargingProfile: [profile], chargingLimitSource: 'CSO',
        });
      }
    }),
    GetCompositeSchedule: ({ evseId, duration }) => {
      const all = [...profiles.values()].map((p) => p.profile.chargingSchedule[0]);
      if (all.length === 0) return [{ status: 'Rejected' }];
      const limit = Math.min(...all.map((s) => s.chargingSchedulePeriod[0].limit));
      return [{ status: 'Accepted', schedule: { evseId, duration, scheduleStart: now(), chargingRateUnit: all[0].chargingRateUnit, chargingSchedulePeriod: [{ startPeriod: 0, limit }] } }];
    },
    GetDisplayMessages: ({ requestId }) => messages.size === 0 ? [{ status: 'Unknown' }] : ok(() => say('NotifyDisplayMessages', { requestId, messageInfo: [...messages.values()] })),
    GetInstalledCertificateIds: () => [certificates.length
      ? { status: 'Accepted', certificateHashDataChain: certificates.map((certificateHashData) => ({ certificateType: 'CSMSRootCertificate', certificateHashData })) }
      : { status: 'NotFound' }],
    GetLocalListVersion: () => [{ versionNumber: list }],
    GetLog: ({ requestId }) => [{ status: 'Accepted', filename: 'log' }, log(requestId)],
    GetMonitoringReport: ({ requestId }) => ok(() => say('NotifyMonitoringReport', { requestId, seqNo: 0, generatedAt: now() })),
    GetReport: ({ requestId }) => ok(() => report(requestId)),
    GetTransactionStatus: ({ transactionId }) => [{ messagesInQueue: false, ...(transactionId && { ongoingIndicator: transactionId === transaction?.id }) }],
    GetVariables: ({ getVariableData }) => [{
      getVariableResult: getVariableData.map(({ component, variable, attributeType }) => {
        const found = variables.get(`${component.name}.${variable.name}`);
        return { component, variable, ...(attributeType && { attributeType }), ...(found === undefined ? { attributeStatus: 'UnknownVariable' } : { attributeStatus: 'Accepted', attributeValue: found }) };
      }),
    }],
    InstallCertificate: ({ certificate }) => {
      certificates.push(hashOf(certificate));
      return ok();
    },
    PublishFirmware: ({ requestId }) => ok(() => say('PublishFirmwareStatusNotification', { status: 'Published', location: ['http://127.0.0.1/firmware'], requestId })),
    RequestStartTransaction: ({ idToken, remoteStartId }) => ok(() => start(idToken, remoteStartId)),
    RequestStopTransaction: ({ transactionId }) => transactionId === transaction?.id ? ok(stop) : [{ status: 'Rejected' }],
    ReserveNow: () => ok(() => status('Reserved')),
    Reset: () => ok(() => boot('RemoteReset')),
    SendLocalList: ({ versionNumber }) => {
      list = versionNumber;
      return ok();
    },
    SetChargingProfile: ({ evseId, chargingProfile }) => {
      profiles.set(chargingProfile.id, { evseId, profile: chargingProfile });
      return ok();
    },
    SetDisplayMessage: ({ message }) => {
      messages.set(message.id, message);
      return ok();
    },
    SetMonitoringBase: () => ok(),
    SetMonitoringLevel: () => ok(),
    SetNetworkProfile: () => ok(),
    SetVariableMonitoring: ({ setMonitoringData }) => [{
      setMonitoringResult: setMonitoringData.map(({ type, severity, component, variable }, i) => ({ id: i + 1, status: 'Accepted', type, severity, component, variable })),
    }],
    SetVariables: ({ setVariableData }) => [{
      setVariableResult: setVariableData.map(({ component, variable, attributeType, attributeValue }) => {
        const name = `${component.name}.${variable.name}`;
        const known = variables.has(name);
        if (known) variables.set(name, attributeValue);
        return { component, variable, ...(attributeType && { attributeType }), attributeStatus: known ? 'Accepted' : 'UnknownVariable' };
      }),
    }],
    TriggerMessage: ({ requestedMessage }) => trigger[requestedMessage] ? ok(trigger[requestedMessage]) : [{ status: 'NotImplemented' }],
    UnlockConnector: () => [{ status: 'Unlocked' }],
    UnpublishFirmware: () => [{ status: 'Unpublished' }],
    UpdateFirmware: ({ requestId }) => ok(async () => {
      for (const status of ['Downloading', 'Downloaded', 'Installing', 'Installed']) {
        await say('FirmwareStatusNotification', { status, requestId });
      }
    }),
    // 2.1
    AdjustPeriodicEventStream: () => ok(),
    AFRRSignal: () => ok(),
    ChangeTransactionTariff: () => ok(),
    ClearDERControl: () => ok(),
    ClearTariffs: () => [{ clearTariffsResult: [{ status: 'Accepted' }] }],
    GetDERControl: ({ requestId }) => ok(() => say('ReportDERControl', { requestId, tbc: false })),
    GetPeriodicEventStream: () => [{}],
    GetTariffs: () => [{ status: 'NoTariff' }],
    NotifyAllowedEnergyTransfer: () => ok(),
    NotifyWebPaymentStarted: () => [{}],
    RequestBatterySwap: ({ requestId, idToken }) => ok(() => say('BatterySwap', { requestId, idToken, eventType: 'BatteryOutTimeout', batteryData: [{ evseId: 1, serialNumber: 'B1', soC: 80, soH: 95 }] })),
    SetDERControl: () => ok(),
    SetDefaultTariff: () => ok(),
    UpdateDynamicSchedule: () => ok(),
    UsePriorityCharging: () => ok(),
  };
  return { boot, obey: (action, params) => orders[action](params) };
}
